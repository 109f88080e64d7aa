#include "template/runtime.h"

#include <memory>

#include "template/fault.h"

namespace foveate::jinja {

void Runtime::Charge(std::int64_t steps) {
  steps_ += steps;
  if (steps_ > kMaxSteps) FailLimit("more than {} steps", kMaxSteps);
}

void Runtime::TakeMemory(std::int64_t bytes) {
  memory_bytes_ += bytes;
  if (memory_bytes_ > kMaxMemoryBytes) {
    FailLimit("the values take more than {} MiB", kMaxMemoryBytes >> 20);
  }
}

void Runtime::CheckTextSize(std::int64_t bytes) {
  if (bytes > kMaxTextBytes) FailLimit("a text of more than {} MiB", kMaxTextBytes >> 20);
}

void Runtime::CheckListSize(std::int64_t items) {
  if (items > kMaxListItems) FailLimit("a list of more than {} items", kMaxListItems);
}

Value Runtime::NewText(Text text) {
  CheckTextSize(text.size());
  const std::int64_t bytes = text.MemoryBytes();
  ChargeBytes(bytes);
  TakeMemory(bytes);
  // The memory is given back with the last reference: templates that build a long text step by
  // step leave many shorter ones behind.
  return TextPtr(new Text(std::move(text)), [this, bytes](const Text* held) {
    memory_bytes_ -= bytes;
    delete held;
  });
}

void Runtime::ChargeGrowth(std::int64_t items) {
  ChargeItems(items);
  TakeMemory(items * static_cast<std::int64_t>(sizeof(Value)));
}

Value Runtime::NewList(std::vector<Value> items) {
  const auto count = static_cast<std::int64_t>(items.size());
  CheckListSize(count);
  ChargeGrowth(count);
  TakeMemory(sizeof(List));
  return &lists_.emplace_back(List{std::move(items), false});
}

Value Runtime::NewTuple(std::vector<Value> items) {
  const Value list = NewList(std::move(items));
  std::get<List*>(list)->is_tuple = true;
  return list;
}

Dict* Runtime::NewDict() {
  TakeMemory(sizeof(Dict));
  return &dicts_.emplace_back();
}

Namespace* Runtime::NewNamespace() {
  TakeMemory(sizeof(Namespace));
  return &namespaces_.emplace_back();
}

const Macro* Runtime::NewMacro(Macro macro) {
  TakeMemory(sizeof(Macro));
  return &macros_.emplace_back(std::move(macro));
}

const Method* Runtime::NewMethod(Method method) {
  TakeMemory(sizeof(Method));
  return &methods_.emplace_back(std::move(method));
}

Nesting::Nesting(Runtime& runtime) : runtime_(runtime) {
  if (runtime_.depth_ >= kMaxDepth) FailLimit("nested more than {} levels deep", kMaxDepth);
  ++runtime_.depth_;
}

}  // namespace foveate::jinja
