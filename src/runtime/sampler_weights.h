// exp, sum and maximum over long rows of logits, in vectors of four with a fixed order of
// additions.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace foveate {

// Rows are worked through in blocks of this many logits; BlockMaxima says where the large ones are.
inline constexpr std::int64_t kSamplerBlock = 64;

// weights[i] = exp(logits[i] - shift), for logits no larger than shift (-inf allowed); 0 where the
// result would be below 1e-37. Relative error 3e-7. `weights` and `logits` have the same length.
void ShiftedExp(std::span<const float> logits, float shift, std::span<float> weights);

// Sum of non-negative weights; blocks in f32 lanes, the blocks themselves in f64.
double SumWeights(std::span<const float> weights);

// log(sum(exp(logits))), for logits no larger than max and at least one finite.
double LogSumExp(std::span<const float> logits, float max);

// The maximum of every block (the last one may be short). Throws Error(kNumerical) naming the index
// of the first NaN or +inf.
void BlockMaxima(std::span<const float> logits, std::vector<float>& maxima);

// The index that a uniform u in [0, 1) selects: the first one with a positive weight whose running
// sum reaches u times the total. At least one weight must be positive.
std::int64_t PickWeighted(std::span<const float> weights, double u);

}  // namespace foveate
