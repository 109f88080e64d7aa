// Times of neighborhood attention on this machine beside the simulator's prediction of them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/context.h"
#include "mechanisms/neighborhood_grid.h"

namespace foveate {

struct NeighborhoodBenchOptions {
  std::int64_t heads = 1;
  std::int64_t dim = 64;
  int repetitions = 3;                                   // measured, after one that is not
  std::function<void(const std::string& what)> on_step;  // may throw to stop
};

// Medians, in seconds.
struct NeighborhoodTiming {
  double predicted = 0;
  double measured = 0;
  double dense = 0;    // of dense attention over as many tokens, by a part of its rows
  double speedup = 0;  // dense over measured, within each repetition
  // What putting tokens in order and back takes, as a share of the time without: measured beside a
  // call whose tokens lie in order already.
  double permutation = 0;
};

// What tiles cost here: seconds per unit of work of a schedule, fitted to a few grids that are
// measured when it is made and no grid that anyone uses.
class NeighborhoodCosts {
 public:
  static constexpr int kTerms = 4;

  NeighborhoodCosts(Context& context, const NeighborhoodBenchOptions& options);

  double Predict(const NeighborhoodGrid& grid) const;

 private:
  std::int64_t block_rows_;
  double seconds_[kTerms] = {};
};

// The grids one after the other, each interleaved with dense attention.
std::vector<NeighborhoodTiming> BenchNeighborhood(Context& context,
                                                  const std::vector<NeighborhoodGrid>& grids,
                                                  const NeighborhoodBenchOptions& options);

}  // namespace foveate
