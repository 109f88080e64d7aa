// `foveate attend`: the attention operator on the tensors of a file.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/log.h"
#include "base/throw.h"
#include "cli/model_options.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "runtime/attend_file.h"

namespace foveate::cli {
namespace {

struct Flags {
  ModelOptions machine;
  std::string input;
  std::string attention = "full";
  std::string output;
  std::optional<float> scale;
  std::optional<float> soft_cap;
  bool alibi = false;
  bool weights = false;
  bool json = false;
};

StoredTensor FloatTensor(std::string name, std::vector<std::int64_t> shape,
                         const std::vector<float>& values) {
  return {std::move(name), TensorType::kF32, std::move(shape), std::as_bytes(std::span(values))};
}

// A misspelt name must not cost an option.
void WarnOfUnknown(const SafetensorsFile& file) {
  static constexpr std::string_view kKnown[] = {"q",       "k",       "v",   "bias", "sink",
                                                "extra_k", "extra_v", "rpb", "dout"};
  for (const StoredTensor& tensor : file.tensors()) {
    if (std::find(std::begin(kKnown), std::end(kKnown), tensor.name) != std::end(kKnown)) continue;
    Warn("{}: tensor {} is none that attention knows, and not used", file.path(), tensor.name);
  }
}

int AttendVerb(const Flags& flags) {
  if (flags.soft_cap && !(*flags.soft_cap > 0)) {
    Throw(ErrorCode::kInvalidArgument, "--softcap: {}, expected a number above 0", *flags.soft_cap);
  }
  const AttentionSpec spec = ParseAttentionSpec(flags.attention);
  const std::unique_ptr<Context> context = MakeContext(flags.machine);
  const SafetensorsFile file = SafetensorsFile::Open(flags.input);
  WarnOfUnknown(file);
  const AttendFileResult result = AttendFile(*context, file, spec,
                                             {.scale = flags.scale,
                                              .soft_cap = flags.soft_cap.value_or(0.0f),
                                              .alibi = flags.alibi,
                                              .weights = flags.weights});
  const auto [b, h, n, d] = result.shape;
  std::vector<StoredTensor> tensors = {FloatTensor("out", {b, h, n, d}, result.out),
                                       FloatTensor("lse", {b, h, n}, result.lse)};
  const auto add = [&](const std::vector<NamedTensor>& more) {
    std::vector<std::string> names;
    for (const NamedTensor& tensor : more) {
      tensors.push_back(FloatTensor(tensor.name, tensor.shape, tensor.values));
      names.push_back(tensor.name);
    }
    return names;
  };
  const std::vector<std::string> weights = add(result.weights);
  const std::vector<std::string> gradients = add(result.gradients);
  WriteSafetensors(flags.output, tensors, {{"attention", ToText(spec)}});
  if (flags.json) {
    PrintJson({{"attention", ToText(spec)},
               {"out", {b, h, n, d}},
               {"weights", weights},
               {"gradients", gradients},
               {"file", flags.output}});
  } else {
    fmt::print("{}: out [{}, {}, {}, {}] and lse [{}, {}, {}] by {}\n", flags.output, b, h, n, d, b,
               h, n, ToText(spec));
    if (!weights.empty()) fmt::print("weights: {}\n", fmt::join(weights, ", "));
    if (!gradients.empty()) fmt::print("gradients: {}\n", fmt::join(gradients, ", "));
  }
  return kExitOk;
}

constexpr const char* kFooter =
    R"(IN.safetensors holds q [B,H,N,D], k [B,Hkv,M,D] and v [B,Hkv,M,Dv] (F32, F16 or BF16; B may be
missing) and may hold bias [M], [N,M] or [B,H,N,M] (BOOL or U8: a mask, non-zero = attend), sink
[H], extra_k and extra_v [B,Hkv,E,D]. The output holds out [B,H,N,Dv] and lse [B,H,N] in F32; a row
that sees no key has zeros and -infinity. Row r of N stands at position M - N + r.

With dout [B,H,N,Dv], the gradient of some loss by out, the output also holds the gradients by q, k
and v, dq, dk and dv, and by what else there is, d_sink, d_extra_k, d_extra_v and drpb (none by
bias).

Of a neighborhood, --weights stores what the operator otherwise never does: logits and probs
[B,H,N,K], the scores and weights of the K keys in the window of each row, row-major (-infinity and
0 where a causal axis leaves none). A bias by relative position, rpb [H, 2 window - 1, ...], which
is added to the logits, implies it.

Example:
  foveate attend case.safetensors --attention window:left=1023,right=0 -o result.safetensors)";

}  // namespace

void AddAttendVerb(CLI::App& app, Work& work) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = app.add_subcommand("attend", "Run the attention operator on stored tensors");
  verb->footer(kFooter);
  verb->add_option("input", flags->input, "safetensors file with q, k and v")
      ->required()
      ->type_name("IN.safetensors");
  verb->add_option("--attention,-a", flags->attention, "the mechanism (see `foveate mechanisms`)")
      ->capture_default_str();
  verb->add_option("--output,-o", flags->output, "file to write")->required();
  verb->add_option("--scale", flags->scale, "factor of the scores (default: 1 / sqrt(D))");
  verb->add_option("--softcap", flags->soft_cap, "cap the scores: cap * tanh(s / cap)");
  verb->add_flag("--alibi", flags->alibi, "subtract ALiBi's slope * distance from the scores");
  verb->add_flag("--weights", flags->weights, "store the weights too (of a neighborhood)");
  AddMachineOptions(*verb, flags->machine);
  verb->add_flag("--json", flags->json, "print one JSON object");
  verb->callback([flags, &work] { work = [flags] { return AttendVerb(*flags); }; });
}

}  // namespace foveate::cli
