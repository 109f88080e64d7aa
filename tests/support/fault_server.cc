#include "tests/support/fault_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <stdexcept>

namespace foveate {
namespace {

constexpr int kPollMilliseconds = 20;

bool Readable(int socket, int milliseconds) {
  pollfd entry{socket, POLLIN, 0};
  return poll(&entry, 1, milliseconds) > 0;
}

bool SendAll(int socket, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

HttpRequest ParseRequest(const std::string& head) {
  HttpRequest request;
  request.method = head.substr(0, head.find(' '));
  const std::size_t path = request.method.size() + 1;
  request.path = head.substr(path, head.find(' ', path) - path);
  for (std::size_t line = head.find("\r\n") + 2; line < head.size();) {
    const std::size_t end = std::min(head.find("\r\n", line), head.size());
    const std::size_t colon = head.find(": ", line);
    if (colon < end) {
      std::string name = head.substr(line, colon - line);
      std::transform(name.begin(), name.end(), name.begin(), ::tolower);
      request.headers[name] = head.substr(colon + 2, end - colon - 2);
    }
    line = end + 2;
  }
  return request;
}

std::string Head(const HttpReply& reply) {
  std::string head = fmt::format("HTTP/1.1 {} Test\r\nConnection: close\r\n", reply.status);
  bool has_length = false;
  for (const auto& [name, value] : reply.headers) {
    head += fmt::format("{}: {}\r\n", name, value);
    has_length = has_length || name == "Content-Length" || name == "Transfer-Encoding";
  }
  if (!has_length) head += fmt::format("Content-Length: {}\r\n", reply.body.size());
  return head + "\r\n";
}

}  // namespace

HttpReply ServeFile(const HttpRequest& request, const std::string& body, const std::string& etag) {
  const auto range = request.headers.find("range");
  const auto condition = request.headers.find("if-range");
  const bool unchanged = condition == request.headers.end() || condition->second == etag;
  if (range == request.headers.end() || !unchanged) {
    return {.headers = {{"ETag", etag}}, .body = body};
  }
  const std::size_t first = std::stoul(range->second.substr(std::string("bytes=").size()));
  if (first >= body.size()) {
    return {.status = 416, .headers = {{"Content-Range", fmt::format("bytes */{}", body.size())}}};
  }
  return {.status = 206,
          .headers = {{"ETag", etag},
                      {"Content-Range",
                       fmt::format("bytes {}-{}/{}", first, body.size() - 1, body.size())}},
          .body = body.substr(first)};
}

FaultServer::FaultServer(Handler handler) : handler_(std::move(handler)) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  if (listener_ < 0 || bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      listen(listener_, 16) != 0 ||
      getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("no socket for a test server");
  }
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { AcceptLoop(); });
}

FaultServer::~FaultServer() {
  stop_ = true;
  acceptor_.join();
  for (std::thread& connection : connections_) connection.join();
  close(listener_);
}

std::string FaultServer::Host() const { return fmt::format("http://127.0.0.1:{}", port_); }

std::vector<HttpRequest> FaultServer::Requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

void FaultServer::AcceptLoop() {
  while (!stop_) {
    if (!Readable(listener_, kPollMilliseconds)) continue;
    const int connection = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection >= 0) {
      connections_.emplace_back([this, connection] {
        Serve(connection);
        close(connection);
      });
    }
  }
}

void FaultServer::Serve(int connection) {
  std::string head;
  std::array<char, 4096> buffer;
  while (head.find("\r\n\r\n") == std::string::npos) {
    if (stop_) return;
    if (!Readable(connection, kPollMilliseconds)) continue;
    const ssize_t count = recv(connection, buffer.data(), buffer.size(), 0);
    if (count <= 0) return;
    head.append(buffer.data(), static_cast<std::size_t>(count));
  }
  const HttpRequest request = ParseRequest(head);
  {
    const std::lock_guard lock(mutex_);
    requests_.push_back(request);
  }
  const HttpReply reply = handler_(request);
  if (!SendAll(connection, Head(reply) + reply.body.substr(0, reply.cut_after))) return;
  while (reply.stall && !stop_ && !Readable(connection, kPollMilliseconds)) {
  }
}

}  // namespace foveate
