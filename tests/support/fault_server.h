// An HTTP server on the loopback address that answers as a test tells it to, faults included: it
// may announce a wrong length, cut the connection in the middle or fall silent.
//
//   FaultServer server([](const HttpRequest& request) {
//     return HttpReply{.body = "hello", .cut_after = 3};
//   });
//   ... server.Url("/file")
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <limits>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace foveate {

struct HttpRequest {
  std::string method;
  std::string path;
  std::map<std::string, std::string> headers;  // names in lower case
};

struct HttpReply {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers =
      {};  // Content-Length is added if absent
  std::string body = {};
  std::size_t cut_after = std::numeric_limits<std::size_t>::max();  // body bytes before closing
  bool stall = false;  // keep the connection open and silent after the body
};

// A file the way a well-behaved server sends it: with an ETag and, when asked for, a range of it.
HttpReply ServeFile(const HttpRequest& request, const std::string& body, const std::string& etag);

class FaultServer {
 public:
  // `handler` runs in threads of the server.
  using Handler = std::function<HttpReply(const HttpRequest&)>;
  explicit FaultServer(Handler handler);
  ~FaultServer();
  FaultServer(const FaultServer&) = delete;
  FaultServer& operator=(const FaultServer&) = delete;

  std::string Host() const;  // "http://127.0.0.1:<port>"
  std::string Url(const std::string& path) const { return Host() + path; }
  std::vector<HttpRequest> Requests() const;  // so far, in order

 private:
  void AcceptLoop();
  void Serve(int connection);

  Handler handler_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<bool> stop_{false};
  mutable std::mutex mutex_;
  std::vector<HttpRequest> requests_;
  std::vector<std::thread> connections_;
  std::thread acceptor_;
};

}  // namespace foveate
