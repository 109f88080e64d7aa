// The memory and the budget of one rendering. Everything that a template can make grow is made
// here, so a hostile template ends with a limit and never with an exhausted machine.
#pragma once

#include <cstdint>
#include <ctime>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "template/value.h"

namespace foveate::jinja {

inline constexpr std::int64_t kMaxSteps = 1'000'000;
inline constexpr std::int64_t kMaxTextBytes = 16 << 20;     // the output and every string
inline constexpr std::int64_t kMaxListItems = 1 << 20;      // every list
inline constexpr std::int64_t kMaxMemoryBytes = 256 << 20;  // all live values together
inline constexpr int kMaxCalls = 64;                        // macros inside macros
inline constexpr int kMaxDepth = 800;                       // nested evaluations and containers

class Runtime {
 public:
  // `now` is the local time that strftime_now() tells.
  explicit Runtime(const std::tm& now) : now_(now) {}
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  const std::tm& now() const { return now_; }

  // Takes steps off the budget: one per evaluated node and per few handled items.
  void Charge(std::int64_t steps);
  // The same for work on so many bytes (1 KiB is a step) or list items (8 are a step).
  void ChargeBytes(std::int64_t bytes) { Charge(bytes >> 10); }
  void ChargeItems(std::int64_t items) { Charge(items >> 3); }

  Value NewText(Text text);
  Value NewText(std::string_view bytes, Origin origin) {
    return NewText(Text(std::string(bytes), origin));
  }
  Value NewList(std::vector<Value> items);
  Value NewTuple(std::vector<Value> items);
  Dict* NewDict();
  Namespace* NewNamespace();
  const Macro* NewMacro(Macro macro);
  const Method* NewMethod(Method method);
  // To be called when a list or dict has grown by `items`.
  void ChargeGrowth(std::int64_t items);

  // Fails when a string of `bytes` would be too long, or a list of `items`.
  static void CheckTextSize(std::int64_t bytes);
  static void CheckListSize(std::int64_t items);

 private:
  friend class Nesting;

  void TakeMemory(std::int64_t bytes);

  std::tm now_;
  std::int64_t steps_ = 0;
  std::int64_t memory_bytes_ = 0;
  int depth_ = 0;
  std::deque<List> lists_;
  std::deque<Dict> dicts_;
  std::deque<Namespace> namespaces_;
  std::deque<Macro> macros_;
  std::deque<Method> methods_;
};

// Counts a level of recursion while it exists; a level too deep is a limit, not a crash.
class Nesting {
 public:
  explicit Nesting(Runtime& runtime);
  ~Nesting() { --runtime_.depth_; }
  Nesting(const Nesting&) = delete;
  Nesting& operator=(const Nesting&) = delete;

 private:
  Runtime& runtime_;
};

}  // namespace foveate::jinja
