// Any text as attention specs: what is accepted prints and parses to the same again, as text and as
// JSON, and what its patterns say of a small call agrees with itself, also those of mechanisms that
// choose keys by content.
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "attention/schedule.h"
#include "attention/selection.h"
#include "foveate/error.h"
#include "mechanisms/spec.h"

namespace foveate {
namespace {

constexpr AttentionShape kShape{.queries = 12, .keys = 12};
constexpr AttentionShape kStep{.queries = 1, .keys = 12};

void CheckPattern(const PatternPtr& pattern, const AttentionShape& shape) {
  const Schedule schedule(pattern, shape, 5);
  for (const ScheduleItem& item : schedule.items()) {
    const bool sees = !schedule.runs(item).empty();
    for (std::int64_t row = item.rows.begin; row < item.rows.end; ++row) {
      const std::uint64_t bits = pattern->Bits(shape, row, 0);
      if (bits >> shape.keys != 0 || (bits != 0 && !sees)) __builtin_trap();
      for (std::int64_t key = 0; key < shape.keys; ++key) {
        if (((bits >> key & 1) != 0) != pattern->Attends(shape, row, key)) __builtin_trap();
      }
    }
  }
}

void CheckSelector(const Selector& selector, const AttentionShape& shape) {
  constexpr std::int64_t kDim = 4;
  static Context context({.threads = 1});
  std::array<float, 12 * kDim> numbers;
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = std::sin(static_cast<float>(i));
  const auto in = SelectFrom(context, DenseRef(numbers.data(), {1, 1, shape.queries, kDim}),
                             DenseRef(numbers.data(), {1, 1, shape.keys, kDim}), 0);
  CheckPattern(selector.Select(context, *in, selector.NewState().get())[0], shape);
}

void CheckSpec(const AttentionSpec& spec) {
  const std::string text = ToText(spec), json = ToJson(spec);
  if (ToText(ParseAttentionSpec(text)) != text) __builtin_trap();
  if (ToText(ParseAttentionJson(json)) != text) __builtin_trap();
  for (const LayerAttention& layer : spec.layers()) {
    for (const HeadAttention& head : layer.heads) {
      try {
        if (head.pattern != nullptr) CheckPattern(head.pattern, kShape);
        if (head.selector == nullptr) continue;
        CheckSelector(*head.selector, kShape);
        CheckSelector(*head.selector, kStep);
      } catch (const Error&) {  // another call than this one
      }
    }
  }
}

}  // namespace
}  // namespace foveate

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    for (const auto& spec : foveate::ParseSpecList(text, foveate::SpecFiles::kRefused)) {
      foveate::CheckSpec(spec);
    }
  } catch (const foveate::Error&) {
  }
  return 0;
}
