// Perplexity of several ways of attention on the same window, side by side.
#pragma once

#include <span>
#include <vector>

#include "base/context.h"
#include "eval/subject.h"

namespace foveate {

// What each subject makes of the targets of a window (see windows.h); the first is the baseline
// that the others are compared with. They take turns chunk by chunk, so that only a few rows of
// logits exist at once. Throws Error(kNumerical) for NaN logits.
std::vector<EvalOutcome> EvaluateWindow(Context& context, std::span<EvalSubject* const> subjects,
                                        const EvalCase& window, const EvalSubject::Check& check);

}  // namespace foveate
