// The instruction sets that a test has to go through.
#pragma once

#include <algorithm>
#include <vector>

#include "base/cpu.h"

namespace foveate::testing {

// One instruction set for each table of kernels that the machine can run.
template <typename Table>
std::vector<Isa> DistinctIsas(const Table& (*table_for)(Isa)) {
  std::vector<Isa> distinct;
  for (const Isa isa : SupportedIsas()) {
    const auto same = [&](Isa other) { return &table_for(other) == &table_for(isa); };
    if (std::none_of(distinct.begin(), distinct.end(), same)) distinct.push_back(isa);
  }
  return distinct;
}

}  // namespace foveate::testing
