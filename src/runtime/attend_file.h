// The attention operator on stored tensors: the way to hold it against any other implementation.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/context.h"
#include "format/safetensors.h"
#include "mechanisms/spec.h"
#include "runtime/attend_tensors.h"

namespace foveate {

struct AttendFileOptions {
  std::optional<float> scale;  // none: 1 / sqrt(D)
  float soft_cap = 0;          // 0: none
  bool alibi = false;          // the slopes of the ALiBi paper for H heads
  bool weights = false;        // store them: neighborhoods only, without any of the two above
};

struct AttendFileResult {
  std::array<std::int64_t, 4> shape{};  // [B, H, N, Dv]
  std::vector<float> out;
  std::vector<float> lse;  // [B, H, N]
  // logits and probs [B, H, N, K], where they are stored: scores, with their bias, and weights of
  // the K keys in the window of each row (mechanisms/neighborhood_windows.h).
  std::vector<NamedTensor> weights;
  // With dout: dq, dk and dv, and d_sink, d_extra_k, d_extra_v, drpb where their tensors are;
  // shaped [B, ...] like q, k, v, sink, extra_k, extra_v, rpb.
  std::vector<NamedTensor> gradients;
};

// Reads q [B, H, N, D], k [B, Hkv, M, D], v [B, Hkv, M, Dv] (f32, f16 or bf16; the batch axis may
// be missing) and, where they are there,
//   bias     [M], [N, M] or [B or 1, H or 1, N or 1, M], added to the scores; BOOL or U8: a mask,
//            non-zero where a row may attend
//   sink     [H], logits without values
//   extra_k, extra_v [B, Hkv, E, D or Dv], keys that every row sees besides
//   rpb      [H, 2 window - 1, ...], a bias by relative position of a neighborhood, whose weights
//            are stored then
//   dout     [B, H, N, Dv], the gradient of some loss by out: the result has the gradients by the
//            other tensors (but the bias)
// Throws Error: kNotFound for a missing tensor, kInvalidArgument and kUnsupported naming tensor and
// file for shapes and types that do not fit.
AttendFileResult AttendFile(Context& context, const SafetensorsFile& file,
                            const AttentionSpec& spec, const AttendFileOptions& options);

// Press et al. 2022: 2^(-8 i / H) for i = 1..H where H is a power of two; else those of the next
// lower power P, followed by every other one of 2 P heads.
std::vector<float> AlibiSlopes(std::int64_t heads);

}  // namespace foveate
