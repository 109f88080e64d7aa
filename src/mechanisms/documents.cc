#include "mechanisms/documents.h"

#include <algorithm>

#include "base/throw.h"

namespace foveate {

Documents::Documents(const Params& params, std::string_view key)
    : mechanism_(params.mechanism().name), key_(key), ends_(params.List(key)) {
  if (ends_.size() < 2 || ends_.front() != 0) {
    Throw(ErrorCode::kInvalidArgument,
          "{}: {} begins with {} and has {} entries, expected 0 first "
          "and at least 2",
          mechanism_, key_, ends_.front(), ends_.size());
  }
  for (std::size_t i = 1; i < ends_.size(); ++i) {
    if (ends_[i] < ends_[i - 1]) {
      Throw(ErrorCode::kInvalidArgument, "{}: {}[{}] is {}, less than {} before it", mechanism_,
            key_, i, ends_[i], ends_[i - 1]);
    }
  }
}

std::int64_t Documents::Of(std::int64_t index) const {
  return std::upper_bound(ends_.begin(), ends_.end(), index) - ends_.begin() - 1;
}

void Documents::CheckLength(std::int64_t length, std::string_view what) const {
  if (ends_.back() != length) {
    Throw(ErrorCode::kInvalidArgument, "{}: {}[{}] is {}, but the call has {} {}", mechanism_, key_,
          ends_.size() - 1, ends_.back(), length, what);
  }
}

KeyDocumentPattern::KeyDocumentPattern(const Params& params)
    : documents_(params, "cu"), mechanism_(params.mechanism().name) {}

void KeyDocumentPattern::Check(const AttentionShape& shape) const {
  documents_.CheckLength(shape.keys, "keys");
  if (shape.queries > shape.keys) {
    Throw(ErrorCode::kInvalidArgument, "{}: {} queries but {} keys: every query needs a document",
          mechanism_, shape.queries, shape.keys);
  }
}

RowDocumentPattern::RowDocumentPattern(const Params& params)
    : rows_(params, "cu_q"), keys_(params, "cu_k") {
  if (rows_.count() != keys_.count()) {
    Throw(ErrorCode::kInvalidArgument, "{}: cu_q has {} documents and cu_k {}, expected as many",
          params.mechanism().name, rows_.count(), keys_.count());
  }
}

void RowDocumentPattern::Check(const AttentionShape& shape) const {
  rows_.CheckLength(shape.queries, "queries");
  keys_.CheckLength(shape.keys, "keys");
}

RowDocumentPattern::Place RowDocumentPattern::PlaceOf(std::int64_t row) const {
  const std::int64_t document = rows_.Of(row);
  const Range keys{keys_.Begin(document), keys_.End(document)};
  return {row + keys.end - rows_.End(document), keys};
}

Param CuParam() {
  return {.key = "cu",
          .type = ParamType::kList,
          .help = "cumulative ends of the documents: 0/e1/.., the last one the number of keys"};
}

std::vector<Param> CuPairParams() {
  return {{.key = "cu_q",
           .type = ParamType::kList,
           .help = "cumulative ends of the documents' rows: 0/e1/.., the last one N"},
          {.key = "cu_k",
           .type = ParamType::kList,
           .help = "cumulative ends of the documents' keys: 0/e1/.., the last one M"}};
}

std::vector<Shorthand> CuShorthands() {
  const auto expand = [](const ParamValue& value, Params& params) {
    params.Set("cu_q", value);
    params.Set("cu_k", value);
  };
  return {{{.key = "cu", .type = ParamType::kList, .help = "both cu_q and cu_k"}, expand}};
}

}  // namespace foveate
