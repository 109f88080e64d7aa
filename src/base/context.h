// What every computation needs: threads and an instruction set. Passed by reference, never global.
#pragma once

#include <string_view>

#include "base/cpu.h"
#include "base/thread_pool.h"

namespace foveate {

struct ContextOptions {
  int threads = 0;  // 0: DefaultThreads()
  Isa isa = BestIsa();
};

// Of settings as people write them; an empty name is the best instruction set there is. Throws what
// ParseIsa throws.
inline ContextOptions ContextOptionsOf(int threads, std::string_view isa) {
  return {.threads = threads, .isa = isa.empty() ? BestIsa() : ParseIsa(isa)};
}

class Context {
 public:
  explicit Context(ContextOptions options = {})
      : isa_(options.isa), pool_(options.threads > 0 ? options.threads : DefaultThreads()) {}

  Isa isa() const { return isa_; }
  ThreadPool& pool() { return pool_; }

 private:
  Isa isa_;
  ThreadPool pool_;
};

}  // namespace foveate
