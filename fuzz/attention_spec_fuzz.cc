// Any text as attention specs: what is accepted prints and parses to the same again, as text and as
// JSON, and what its patterns say of a small call agrees with itself.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "attention/schedule.h"
#include "foveate/error.h"
#include "mechanisms/spec.h"

namespace foveate {
namespace {

constexpr AttentionShape kShape{.queries = 12, .keys = 12};

void CheckPattern(const PatternPtr& pattern) {
  const Schedule schedule(pattern, kShape, 5);
  for (const ScheduleItem& item : schedule.items()) {
    const bool sees = !schedule.runs(item).empty();
    for (std::int64_t row = item.rows.begin; row < item.rows.end; ++row) {
      const std::uint64_t bits = pattern->Bits(kShape, row, 0);
      if (bits >> kShape.keys != 0 || (bits != 0 && !sees)) __builtin_trap();
      for (std::int64_t key = 0; key < kShape.keys; ++key) {
        if (((bits >> key & 1) != 0) != pattern->Attends(kShape, row, key)) __builtin_trap();
      }
    }
  }
}

void CheckSpec(const AttentionSpec& spec) {
  const std::string text = ToText(spec), json = ToJson(spec);
  if (ToText(ParseAttentionSpec(text)) != text) __builtin_trap();
  if (ToText(ParseAttentionJson(json)) != text) __builtin_trap();
  for (const LayerAttention& layer : spec.layers()) {
    for (const HeadAttention& head : layer.heads) {
      try {
        CheckPattern(head.pattern);
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
