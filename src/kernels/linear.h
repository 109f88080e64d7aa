// Matrix products of activations with packed weights: y = x W^T for several matrices at once.
#pragma once

#include <span>

#include "base/context.h"
#include "base/tensor.h"
#include "kernels/activations.h"
#include "kernels/packed_matrix.h"

namespace foveate {

struct LinearTask {
  const PackedMatrix* weights;  // [rows, columns]
  View<float, 2> output;        // [tokens, rows], innermost stride 1, row stride free
  bool accumulate = false;      // output += instead of output =
};

// Multiplies x with every task's weights in one fork-join: queries, keys and values together, gate
// and up together. Every task's columns are those of x; outputs do not overlap x or one another.
//
// Each output is summed over the columns in one fixed order: the result depends on the instruction
// set of the context, but neither on its threads nor on the tokens computed together.
void Linear(Context& context, const Activations& x, std::span<const LinearTask> tasks);

}  // namespace foveate
