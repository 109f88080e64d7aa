#include "eval/eval_case.h"

#include "base/throw.h"

namespace foveate {

std::string_view EvalTaskName(EvalTask task) {
  switch (task) {
    case EvalTask::kPerplexity: return "perplexity";
    case EvalTask::kPasskey: return "passkey";
    case EvalTask::kNeedle: return "needle";
  }
  return "";
}

EvalTask ParseEvalTask(std::string_view name) {
  for (const EvalTask task : kEvalTasks) {
    if (name == EvalTaskName(task)) return task;
  }
  Throw(ErrorCode::kInvalidArgument, "task '{}', expected perplexity, passkey or needle", name);
}

}  // namespace foveate
