// Keys listed for blocks of rows: what mechanisms come to that choose keys by their content.
#pragma once

#include <cstdint>
#include <vector>

#include "attention/pattern.h"

namespace foveate {

// The keys, in normal form, of the rows of a call up to `end`, from where the block before ends.
struct RowBlockKeys {
  std::int64_t end = 0;
  Ranges keys;
};

// Rows behind the last block see nothing. Keys beyond those of a call are none.
PatternPtr MakeRowRanges(std::vector<RowBlockKeys> blocks);

}  // namespace foveate
