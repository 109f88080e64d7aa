#include "runtime/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <string_view>
#include <thread>

#include "base/throw.h"

namespace foveate {
namespace {

constexpr int kTickMilliseconds = 50;
constexpr std::size_t kErrorBytesKept = 64 << 10;

class Pipe {
 public:
  Pipe() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
      Throw(ErrorCode::kIo, "no pipe for a child process: {}", std::strerror(errno));
    }
    reader_ = ends[0];
    writer_ = ends[1];
  }
  ~Pipe() {
    CloseReader();
    CloseWriter();
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  int reader() const { return reader_; }
  int writer() const { return writer_; }
  bool open() const { return reader_ >= 0; }
  void CloseReader() { Close(reader_); }
  void CloseWriter() { Close(writer_); }

 private:
  static void Close(int& end) {
    if (end >= 0) close(end);
    end = -1;
  }
  int reader_ = -1;
  int writer_ = -1;
};

// The child gets a process group of its own: Ctrl-C reaches only us, and we stop it in order.
class SpawnAttributes {
 public:
  SpawnAttributes() {
    posix_spawnattr_init(&attributes_);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setpgroup(&attributes_, 0);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
    posix_spawn_file_actions_init(&actions_);
  }
  ~SpawnAttributes() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnAttributes(const SpawnAttributes&) = delete;
  SpawnAttributes& operator=(const SpawnAttributes&) = delete;

  posix_spawnattr_t* attributes() { return &attributes_; }
  posix_spawn_file_actions_t* actions() { return &actions_; }

 private:
  posix_spawnattr_t attributes_;
  posix_spawn_file_actions_t actions_;
};

std::vector<std::string> Environment(const ChildCommand& command) {
  std::vector<std::string> entries;
  for (const auto& [name, value] : command.environment)
    entries.push_back(fmt::format("{}={}", name, value));
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const bool replaced =
        std::any_of(command.environment.begin(), command.environment.end(),
                    [&](const auto& pair) { return text.substr(0, text.find('=')) == pair.first; });
    if (!replaced) entries.emplace_back(text);
  }
  return entries;
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& text : strings) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

pid_t Spawn(const ChildCommand& command, const Pipe& output, const Pipe& errors) {
  SpawnAttributes spawn;
  posix_spawn_file_actions_addopen(spawn.actions(), 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(spawn.actions(), output.writer(), 1);
  posix_spawn_file_actions_adddup2(spawn.actions(), errors.writer(), 2);
  if (!command.directory.empty()) {
    posix_spawn_file_actions_addchdir_np(spawn.actions(), command.directory.c_str());
  }
  std::vector<std::string> arguments = command.arguments;
  std::vector<std::string> environment = Environment(command);
  pid_t pid = -1;
  const int error = posix_spawnp(&pid, arguments.at(0).c_str(), spawn.actions(), spawn.attributes(),
                                 Pointers(arguments).data(), Pointers(environment).data());
  if (error != 0) {
    Throw(error == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo, "cannot run {}: {}",
          command.arguments[0], std::strerror(error));
  }
  return pid;
}

class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  // Ends what still runs: asks first, insists after a second.
  ~Child() {
    if (reaped_) return;
    kill(-pid_, SIGTERM);
    for (int tick = 0; tick < 20 && !Ended(); ++tick) Pause();
    if (reaped_) return;
    kill(-pid_, SIGKILL);
    waitpid(pid_, &status_, 0);
  }

  bool Ended() {
    if (!reaped_) reaped_ = waitpid(pid_, &status_, WNOHANG) == pid_;
    return reaped_;
  }
  // Of a child that has ended.
  int status() const { return WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_); }
  static void Pause() { std::this_thread::sleep_for(std::chrono::milliseconds(kTickMilliseconds)); }

 private:
  pid_t pid_;
  int status_ = 0;
  bool reaped_ = false;
};

// Reads once from a pipe that poll() found ready; closes it at its end.
template <typename Sink>
void Drain(Pipe& pipe, const pollfd& ready, const Sink& sink) {
  if (!pipe.open() || ready.revents == 0) return;
  std::array<std::byte, 64 << 10> buffer;
  const ssize_t count = read(pipe.reader(), buffer.data(), buffer.size());
  if (count > 0) {
    sink(std::span<const std::byte>(buffer.data(), static_cast<std::size_t>(count)));
  } else if (count == 0 || errno != EINTR) {
    pipe.CloseReader();
  }
}

}  // namespace

ChildResult RunChild(const ChildCommand& command,
                     const std::function<void(std::span<const std::byte>)>& on_output,
                     const std::function<void()>& on_tick) {
  Pipe output;
  Pipe errors;
  Child child(Spawn(command, output, errors));
  output.CloseWriter();
  errors.CloseWriter();

  ChildResult result;
  const auto keep_errors = [&](std::span<const std::byte> bytes) {
    result.errors.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (result.errors.size() > kErrorBytesKept) {
      result.errors.erase(0, result.errors.size() - kErrorBytesKept);
    }
  };
  while (output.open() || errors.open()) {
    std::array<pollfd, 2> ready{{{output.reader(), POLLIN, 0}, {errors.reader(), POLLIN, 0}}};
    if (poll(ready.data(), ready.size(), kTickMilliseconds) > 0) {
      Drain(output, ready[0], on_output);
      Drain(errors, ready[1], keep_errors);
    }
    on_tick();
  }
  while (!child.Ended()) {
    on_tick();
    Child::Pause();
  }
  result.status = child.status();
  return result;
}

}  // namespace foveate
