// Several documents behind each other in one sequence, given by their cumulative ends
// 0, e1, .., eK: document d is [e_d, e_{d+1}). Documents may be empty.
#pragma once

#include <cstdint>
#include <string_view>

#include "attention/band_pattern.h"
#include "mechanisms/mechanism.h"

namespace foveate {

class Documents {
 public:
  // From a parameter that holds the ends. Throws Error(kInvalidArgument) unless they begin with 0
  // and never decrease.
  Documents(const Params& params, std::string_view key);

  std::int64_t count() const { return std::ssize(ends_) - 1; }
  std::int64_t Begin(std::int64_t document) const { return ends_[document]; }
  std::int64_t End(std::int64_t document) const { return ends_[document + 1]; }

  // The document of an index in [0, the last end).
  std::int64_t Of(std::int64_t index) const;

  // Throws Error(kInvalidArgument) unless the last document ends at `length`.
  void CheckLength(std::int64_t length, std::string_view what) const;

  bool operator==(const Documents& other) const { return ends_ == other.ends_; }

 private:
  std::string_view mechanism_;
  std::string_view key_;
  IntegerList ends_;
};

// Documents cut the keys; a row belongs to the document of its position.
class KeyDocumentPattern : public BandPattern {
 public:
  explicit KeyDocumentPattern(const Params& params);

  void Check(const AttentionShape& shape) const override;

 protected:
  Documents documents_;
  std::string_view mechanism_;
};

// Documents cut rows and keys; a row stands at the bottom right inside its document.
class RowDocumentPattern : public BandPattern {
 public:
  explicit RowDocumentPattern(const Params& params);

  void Check(const AttentionShape& shape) const override;

 protected:
  struct Place {
    std::int64_t position = 0;  // i
    Range keys;                 // of the row's document
  };
  Place PlaceOf(std::int64_t row) const;

  bool aligned() const { return rows_ == keys_; }  // positions are those of the whole call

 private:
  Documents rows_;
  Documents keys_;
};

// Parameters that the document mechanisms declare.
Param CuParam();
std::vector<Param> CuPairParams();      // cu_q and cu_k
std::vector<Shorthand> CuShorthands();  // cu, for both of them

}  // namespace foveate
