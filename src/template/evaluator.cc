// Statements; expressions are evaluated in evaluator_expressions.cc.
#include "template/evaluator.h"

#include <algorithm>

#include "template/access.h"
#include "template/fault.h"
#include "template/print.h"

namespace foveate::jinja {

const Value* Scope::Find(NameId name) const {
  for (const Scope* scope = this; scope != nullptr; scope = scope->parent_.get()) {
    for (const auto& [id, value] : scope->values_) {
      if (id == name) return &value;
    }
  }
  return nullptr;
}

void Scope::Set(NameId name, Value value) {
  for (auto& [id, present] : values_) {
    if (id != name) continue;
    present = std::move(value);
    return;
  }
  values_.emplace_back(name, std::move(value));
}

// Makes `scope` the current one while it exists.
class Evaluator::InScope {
 public:
  InScope(Evaluator& evaluator, std::shared_ptr<Scope> scope)
      : evaluator_(evaluator), before_(std::exchange(evaluator.scope_, std::move(scope))) {}
  ~InScope() { evaluator_.scope_ = std::move(before_); }
  InScope(const InScope&) = delete;
  InScope& operator=(const InScope&) = delete;

 private:
  Evaluator& evaluator_;
  std::shared_ptr<Scope> before_;
};

// Collects what is written while it exists.
class Evaluator::Capture {
 public:
  explicit Capture(Evaluator& evaluator)
      : evaluator_(evaluator), before_(std::exchange(evaluator.out_, &text_)) {}
  ~Capture() { evaluator_.out_ = before_; }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  Text Take() { return std::move(text_); }

 private:
  Evaluator& evaluator_;
  Text text_;
  Text* before_;
};

Evaluator::Evaluator(const Template& tree, Runtime& runtime, std::shared_ptr<Scope> globals,
                     int& line)
    : tree_(tree), runtime_(runtime), scope_(std::move(globals)), line_(line) {}

Text Evaluator::Run() {
  const InScope in_scope(*this, std::make_shared<Scope>(scope_));
  ExecuteBody(tree_.body);
  return std::move(output_);
}

Evaluator::Flow Evaluator::ExecuteBody(const Body& body) {
  for (const Statement& statement : body) {
    const Flow flow = Execute(statement);
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Evaluator::Flow Evaluator::Execute(const Statement& statement) {
  const Nesting nesting(runtime_);
  runtime_.Charge(1);
  line_ = statement.line;
  return std::visit([&](const auto& form) { return Execute(form); }, statement.form);
}

Evaluator::Flow Evaluator::Execute(const DataStatement& data) {
  AppendStr(runtime_, data.text, *out_);
  return Flow::kNext;
}

Evaluator::Flow Evaluator::Execute(const OutputStatement& output) {
  AppendStr(runtime_, Evaluate(*output.value), *out_);
  return Flow::kNext;
}

Evaluator::Flow Evaluator::Execute(const IfStatement& statement) {
  for (const IfStatement::Branch& branch : statement.branches) {
    if (!branch.condition || Truthy(Evaluate(*branch.condition))) return ExecuteBody(branch.body);
  }
  return Flow::kNext;
}

// The items that pass the loop's condition, where `loop` must know their number beforehand.
std::vector<Value> Evaluator::LoopItems(const ForStatement& loop) {
  std::vector<Value> items = Items(runtime_, Evaluate(*loop.iterable));
  if (!loop.condition || loop.loop_name < 0) return items;
  const InScope in_scope(*this, std::make_shared<Scope>(scope_));
  std::vector<Value> kept;
  for (Value& item : items) {
    Assign(loop.target, item);
    if (Truthy(Evaluate(*loop.condition))) kept.push_back(std::move(item));
  }
  return kept;
}

Evaluator::Flow Evaluator::Execute(const ForStatement& loop) {
  const auto state = std::make_shared<LoopState>();
  state->items = LoopItems(loop);
  // Otherwise the condition is asked as the loop goes: the body may change what it depends on.
  const bool filtered = !loop.condition || loop.loop_name >= 0;
  const InScope in_scope(*this, std::make_shared<Scope>(scope_));
  const Value loop_value = state;
  const auto count = static_cast<std::int64_t>(state->items.size());
  bool ran = false;
  for (; state->index < count; ++state->index) {
    runtime_.Charge(1);
    scope_->Clear();
    if (loop.loop_name >= 0) scope_->Set(loop.loop_name, loop_value);
    Assign(loop.target, state->items[state->index]);
    if (!filtered && !Truthy(Evaluate(*loop.condition))) continue;
    const Flow flow = ExecuteBody(loop.body);
    // Jinja2 takes a body that was left early for one that has not run.
    if (flow == Flow::kNext) ran = true;
    if (flow == Flow::kBreak) break;
  }
  // A `loop` that has been stored away keeps nothing alive: loops over loops would otherwise form
  // chains whose destruction recurses.
  state->items.clear();
  scope_->Clear();
  return ran ? Flow::kNext : ExecuteBody(loop.otherwise);
}

Evaluator::Flow Evaluator::Execute(const SetStatement& set) {
  Assign(set.target, Evaluate(*set.value));
  return Flow::kNext;
}

Evaluator::Flow Evaluator::Execute(const SetBlockStatement& set) {
  Text text;
  {
    Capture capture(*this);
    const InScope in_scope(*this, std::make_shared<Scope>(scope_));
    const Flow flow = ExecuteBody(set.body);
    if (flow != Flow::kNext) return flow;
    text = capture.Take();
  }
  Assign(set.target, ApplySuffixes(runtime_.NewText(std::move(text)), set.filters));
  return Flow::kNext;
}

Evaluator::Flow Evaluator::Execute(const MacroStatement& macro) {
  scope_->Set(macro.name, runtime_.NewMacro({&macro, scope_}));
  return Flow::kNext;
}

Evaluator::Flow Evaluator::Execute(LoopControl control) {
  return control == LoopControl::kBreak ? Flow::kBreak : Flow::kContinue;
}

Evaluator::Flow Evaluator::Execute(const ScopedStatement& block) {
  const InScope in_scope(*this, std::make_shared<Scope>(scope_));
  return ExecuteBody(block.body);
}

void Evaluator::Assign(const Target& target, Value value) {
  if (!target.items.empty()) {
    std::vector<Value> parts = Items(runtime_, value);
    if (parts.size() != target.items.size()) {
      Fail("{} values for {} names", parts.size(), target.items.size());
    }
    for (std::size_t i = 0; i < parts.size(); ++i) Assign(target.items[i], std::move(parts[i]));
  } else if (target.attribute.empty()) {
    scope_->Set(target.name, std::move(value));
  } else {
    const Value* object = scope_->Find(target.name);
    Namespace* const* space = object == nullptr ? nullptr : std::get_if<Namespace*>(object);
    if (space == nullptr) {
      Fail("cannot set '{}': '{}' is no namespace", target.attribute, tree_.names[target.name]);
    }
    Set(runtime_, (*space)->attributes, runtime_.NewText(target.attribute, Origin::kTemplate),
        std::move(value));
  }
}

Value Evaluator::CallMacro(const Macro& macro, const Args& args) {
  const MacroStatement& definition = *macro.definition;
  std::shared_ptr<Scope> outer = macro.scope.lock();
  if (!outer) Fail("'{}' is called after its block has ended", tree_.names[definition.name]);
  if (calls_ >= kMaxCalls) FailLimit("more than {} nested calls", kMaxCalls);
  ++calls_;
  const InScope in_scope(*this, std::make_shared<Scope>(std::move(outer)));
  BindParameters(definition, args);
  Capture capture(*this);
  ExecuteBody(definition.body);
  --calls_;
  return runtime_.NewText(capture.Take());
}

void Evaluator::BindParameters(const MacroStatement& macro, const Args& args) {
  const std::string& name = tree_.names[macro.name];
  if (args.positional.size() > macro.parameters.size()) {
    Fail("{}() takes at most {} arguments, got {}", name, macro.parameters.size(),
         args.positional.size());
  }
  std::size_t named = 0;
  for (std::size_t i = 0; i < macro.parameters.size(); ++i) {
    const MacroStatement::Parameter& parameter = macro.parameters[i];
    const std::string& parameter_name = tree_.names[parameter.name];
    const auto given =
        std::find_if(args.named.begin(), args.named.end(),
                     [&](const auto& argument) { return argument.first == parameter_name; });
    Value value;
    if (i < args.positional.size()) {
      value = args.positional[i];
    } else if (given != args.named.end()) {
      value = given->second;
      ++named;
    } else if (parameter.default_value) {
      value = Evaluate(*parameter.default_value);
    } else {
      value = MakeUndefined("parameter '{}' was not provided", parameter_name);
    }
    scope_->Set(parameter.name, std::move(value));
  }
  if (named != args.named.size()) Fail("{}() got a named argument that it does not take", name);
}

}  // namespace foveate::jinja
