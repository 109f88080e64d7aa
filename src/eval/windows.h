// Windows of a text for perplexity: each is evaluated on its own from position 0, with BOS where
// the tokenizer adds one; the targets are the tokens of its second half (the rule of llama.cpp's
// tool).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "eval/eval_case.h"

namespace foveate {

// `count` windows of `context` tokens, spread evenly over the text, at most as many as do not
// overlap. `text`: its tokens without BOS; `bos`: what every window begins with. Throws
// Error(kInvalidArgument) for a text shorter than a window or an odd context.
std::vector<EvalCase> PerplexityCases(std::span<const TokenId> text, std::span<const TokenId> bos,
                                      std::int64_t context, std::int64_t count);

}  // namespace foveate
