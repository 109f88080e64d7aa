#include "base/log.h"

#include <mutex>

namespace foveate {
namespace {

struct Sink {
  std::mutex mutex;
  LogSink function;
};

Sink& TheSink() {
  static Sink sink;
  return sink;
}

}  // namespace

void SetWarningSink(LogSink sink) {
  std::lock_guard lock(TheSink().mutex);
  TheSink().function = std::move(sink);
}

void WarnLine(const std::string& line) {
  std::lock_guard lock(TheSink().mutex);
  if (TheSink().function) TheSink().function(line);
}

}  // namespace foveate
