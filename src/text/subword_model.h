// What differs between the kinds of vocabulary: how ordinary text becomes tokens, and what bytes a
// token stands for.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/vocabulary.h"

namespace foveate {

class SubwordModel {
 public:
  virtual ~SubwordModel() = default;

  // Appends the tokens of `text`: valid UTF-8, not empty, a whole text or what stands between two
  // special tokens.
  virtual void Encode(std::string_view text, std::vector<TokenId>& ids) const = 0;

  // Appends the bytes of a token of kind kNormal or kUnused, spelled `piece`.
  virtual void AppendText(std::string_view piece, std::string& out) const = 0;

  // Whether Encode puts a space in front of its text.
  virtual bool adds_space_prefix() const { return false; }
};

}  // namespace foveate
