#include "runtime/download.h"

#include <curl/curl.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <exception>
#include <memory>
#include <optional>
#include <string_view>
#include <thread>

#include "base/throw.h"
#include "runtime/part_record.h"
#include "runtime/partial_file.h"
#include "runtime/sha256.h"

namespace foveate {
namespace {

constexpr long kMaxRedirects = 5;
constexpr long kConnectSeconds = 30;
constexpr long kStallSeconds = 30;  // without a single byte: the connection counts as broken
constexpr std::int64_t kWorthwhileBytes = 1 << 20;  // progress that restores the attempts
constexpr std::chrono::milliseconds kTick{50};
constexpr std::string_view kMagic = "GGUF";

// A failure that another attempt may mend.
struct Interrupted {
  std::string reason;
};

template <auto kFree>
struct FreeWith {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using Easy = std::unique_ptr<CURL, FreeWith<&curl_easy_cleanup>>;
using Multi = std::unique_ptr<CURLM, FreeWith<&curl_multi_cleanup>>;
using HeaderList = std::unique_ptr<curl_slist, FreeWith<&curl_slist_free_all>>;

std::int64_t ParseBytes(std::string_view text) {
  std::int64_t value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value >= 0 ? value : -1;
}

// "bytes 100-199/200" -> {100, 200}; -1 for what is missing.
struct ContentRange {
  std::int64_t first = -1;
  std::int64_t total = -1;
};
ContentRange ParseContentRange(std::string_view text) {
  if (!text.starts_with("bytes ")) return {};
  text.remove_prefix(6);
  return {ParseBytes(text.substr(0, text.find('-'))),
          ParseBytes(text.substr(std::min(text.size(), text.rfind('/') + 1)))};
}

std::string Unquoted(std::string_view text) {
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"') {
    text = text.substr(1, text.size() - 2);
  }
  return std::string(text);
}

// One request with its redirects. Exceptions of the callbacks wait until curl has returned.
class Attempt {
 public:
  Attempt(const DownloadRequest& request, PartialFile& part, PartRecord& record,
          PullMonitor& monitor)
      : request_(request), part_(part), record_(record), monitor_(monitor) {
    easy_.reset(curl_easy_init());
    if (!easy_) Throw(ErrorCode::kIo, "libcurl cannot be initialised");
    SetOptions();
  }

  // Returns when the whole body has come; throws Interrupted or Error.
  void Run() {
    const CURLcode code = Perform();
    if (failure_) std::rethrow_exception(failure_);
    if (code != CURLE_OK) FailTransfer(code);
    if (!responded_) OnResponse();
    FailStatus();
    if (record_.bytes >= 0 && part_.size() < record_.bytes) {
      throw Interrupted{fmt::format("it ended after {} of {} bytes", part_.size(), record_.bytes)};
    }
  }

 private:
  template <typename Value>
  void Set(CURLoption option, Value value) {
    if (curl_easy_setopt(easy_.get(), option, value) != CURLE_OK) {
      Throw(ErrorCode::kInvalidArgument, "libcurl refuses to fetch {}", request_.url);
    }
  }

  void SetOptions() {
    // A secure start stays secure through every redirect.
    const char* protocols = request_.url.starts_with("http://") ? "http,https" : "https";
    Set(CURLOPT_PROTOCOLS_STR, protocols);
    Set(CURLOPT_REDIR_PROTOCOLS_STR, protocols);
    Set(CURLOPT_URL, request_.url.c_str());
    Set(CURLOPT_USERAGENT, "foveate");
    Set(CURLOPT_NOSIGNAL, 1L);
    Set(CURLOPT_FOLLOWLOCATION, 1L);
    Set(CURLOPT_MAXREDIRS, kMaxRedirects);
    Set(CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
    Set(CURLOPT_LOW_SPEED_LIMIT, 1L);
    Set(CURLOPT_LOW_SPEED_TIME, kStallSeconds);
    if (!request_.ca_file.empty()) Set(CURLOPT_CAINFO, request_.ca_file.c_str());
    Set(CURLOPT_WRITEDATA, this);
    Set(CURLOPT_WRITEFUNCTION, &Attempt::OnData);
    resumed_ = part_.size() > 0;
    if (!resumed_) return;
    headers_.reset(
        curl_slist_append(nullptr, fmt::format("Range: bytes={}-", part_.size()).c_str()));
    if (record_.HasStrongEtag()) {
      curl_slist_append(headers_.get(), fmt::format("If-Range: {}", record_.etag).c_str());
    }
    Set(CURLOPT_HTTPHEADER, headers_.get());
  }

  // Drives the transfer in steps, so that progress and cancellation never wait for the network.
  CURLcode Perform() {
    const Multi multi(curl_multi_init());
    if (!multi) Throw(ErrorCode::kIo, "libcurl cannot be initialised");
    curl_multi_add_handle(multi.get(), easy_.get());
    const auto remove = [&](CURL* easy) { curl_multi_remove_handle(multi.get(), easy); };
    const std::unique_ptr<CURL, decltype(remove)> added(easy_.get(), remove);
    int running = 1;
    while (true) {
      CURLMcode code = curl_multi_perform(multi.get(), &running);
      if (code == CURLM_OK && running > 0) {
        code = curl_multi_poll(multi.get(), nullptr, 0, static_cast<int>(kTick.count()), nullptr);
      }
      if (code != CURLM_OK) throw Interrupted{curl_multi_strerror(code)};
      if (running == 0) break;
      monitor_.Report({part_.size(), record_.bytes, "downloading"});
    }
    int waiting = 0;
    const CURLMsg* message = curl_multi_info_read(multi.get(), &waiting);
    return message == nullptr ? CURLE_RECV_ERROR : message->data.result;
  }

  static std::size_t OnData(char* data, std::size_t size, std::size_t count, void* user) {
    Attempt& self = *static_cast<Attempt*>(user);
    try {
      self.Receive({data, size * count});
      return size * count;
    } catch (...) {
      self.failure_ = std::current_exception();
      return 0;
    }
  }

  void Receive(std::string_view bytes) {
    if (!responded_) OnResponse();
    if (!wanted_) return;  // the body of an error or redirect page
    if (record_.bytes >= 0 && part_.size() + std::ssize(bytes) > record_.bytes) {
      Refuse(fmt::format("has the wrong length: more than the {} bytes announced came",
                         record_.bytes));
    }
    if (part_.size() < std::ssize(kMagic)) CheckMagic(bytes);
    part_.Append(std::as_bytes(std::span(bytes)));
  }

  // Judges the final response's head, before its first byte is stored.
  void OnResponse() {
    responded_ = true;
    curl_easy_getinfo(easy_.get(), CURLINFO_RESPONSE_CODE, &status_);
    wanted_ = status_ == 200 || status_ == 206;
    if (!wanted_) return;
    if (status_ == 206) {
      const ContentRange range = ParseContentRange(Header("content-range"));
      const bool other_file = record_.HasStrongEtag() && Header("etag") != record_.etag;
      if (!resumed_ || range.first != part_.size() || range.total != record_.bytes || other_file) {
        part_.Restart();
        throw Interrupted{"the server sent another part of the file than it was asked for"};
      }
      return;
    }
    if (part_.size() > 0) part_.Restart();  // the file changed, or the server knows no ranges
    const std::string etag = Header("etag");
    const std::string linked = LinkedHeader("x-linked-etag");
    record_ = {.url = request_.url,
               .etag = etag,
               .bytes = ParseBytes(Header("content-length")),
               .sha256 = ""};
    record_.sha256 =
        ParseSha256(Unquoted(linked)).value_or(ParseSha256(Unquoted(etag)).value_or(""));
    const std::int64_t linked_bytes = ParseBytes(LinkedHeader("x-linked-size"));
    if (record_.bytes < 0) record_.bytes = linked_bytes;
    if (linked_bytes >= 0 && linked_bytes != record_.bytes) {
      Refuse(fmt::format("has the wrong length: the server sends {} bytes of {}", record_.bytes,
                         linked_bytes));
    }
    RequireSpace(request_.target, record_.bytes);
    WritePartRecord(request_.target, record_);
  }

  void CheckMagic(std::string_view bytes) {
    const std::size_t have = static_cast<std::size_t>(part_.size());
    const std::string_view expected = kMagic.substr(have, bytes.size());
    if (bytes.starts_with(expected)) return;
    const std::string type = Header("content-type");
    Refuse(fmt::format("is not a GGUF file{}", type.empty() ? "" : " but " + type));
  }

  [[noreturn]] void Refuse(const std::string& reason) {
    part_.Restart();
    Throw(ErrorCode::kCorruptFile, "{} {}", request_.url, reason);
  }

  void FailStatus() {
    if (wanted_) return;
    if (status_ == 404) {
      Throw(ErrorCode::kNotFound, "{} does not exist (HTTP status 404)", request_.url);
    }
    if (status_ == 401 || status_ == 403) {
      Throw(ErrorCode::kIo, "{} is not open to everyone (HTTP status {})", request_.url, status_);
    }
    if (status_ == 416 && resumed_) {
      part_.Restart();
      throw Interrupted{"the server refused to go on where the last attempt ended"};
    }
    const bool passing = status_ == 408 || status_ == 429 || status_ >= 500;
    if (passing) throw Interrupted{fmt::format("HTTP status {}", status_)};
    Throw(ErrorCode::kIo, "{} cannot be fetched: HTTP status {}", request_.url, status_);
  }

  [[noreturn]] void FailTransfer(CURLcode code) const {
    switch (code) {
      case CURLE_TOO_MANY_REDIRECTS:
        Throw(ErrorCode::kIo, "{} leads through more than {} redirects", request_.url,
              kMaxRedirects);
      case CURLE_UNSUPPORTED_PROTOCOL:
        Throw(ErrorCode::kIo, "{} leads to an address that is not {}", request_.url,
              request_.url.starts_with("http://") ? "http or https" : "https");
      case CURLE_URL_MALFORMAT:
        Throw(ErrorCode::kInvalidArgument, "{} is not a web address", request_.url);
      case CURLE_PEER_FAILED_VERIFICATION:
      case CURLE_SSL_CACERT_BADFILE:
        Throw(ErrorCode::kIo, "{}: {}", request_.url, curl_easy_strerror(code));
      case CURLE_PARTIAL_FILE:
        throw Interrupted{record_.bytes < 0
                              ? fmt::format("the connection was cut after {} bytes", part_.size())
                              : fmt::format("the connection was cut after {} of {} bytes",
                                            part_.size(), record_.bytes)};
      default: throw Interrupted{curl_easy_strerror(code)};
    }
  }

  // A header of the final response, or of any response on the way to it; "" when absent.
  std::string Header(const char* name) const { return HeaderOf(name, -1).value_or(""); }
  std::string LinkedHeader(const char* name) const {
    for (int request = 0; request <= kMaxRedirects; ++request) {
      if (auto value = HeaderOf(name, request)) return *value;
    }
    return "";
  }
  std::optional<std::string> HeaderOf(const char* name, int request) const {
    curl_header* header = nullptr;
    if (curl_easy_header(easy_.get(), name, 0, CURLH_HEADER, request, &header) != CURLHE_OK) {
      return std::nullopt;
    }
    return header->value;
  }

  const DownloadRequest& request_;
  PartialFile& part_;
  PartRecord& record_;
  PullMonitor& monitor_;
  Easy easy_;
  HeaderList headers_;
  bool resumed_ = false;    // asked for the rest of a file only
  bool responded_ = false;  // the final response's head has come
  bool wanted_ = false;     // its body is the file
  long status_ = 0;
  std::exception_ptr failure_;
};

void Pause(std::chrono::milliseconds pause, const PullProgress& progress, PullMonitor& monitor) {
  const auto end = std::chrono::steady_clock::now() + pause;
  while (std::chrono::steady_clock::now() < end) {
    monitor.Report(progress);
    std::this_thread::sleep_for(std::min(kTick, pause));
  }
}

// Attempts until the body is complete; resets the count when an attempt brought something.
void FetchBody(const DownloadRequest& request, PartialFile& part, PartRecord& record,
               PullMonitor& monitor) {
  std::chrono::milliseconds pause = request.first_pause;
  std::int64_t best = part.size();
  for (int failed = 0;;) {
    try {
      Attempt(request, part, record, monitor).Run();
      return;
    } catch (const Interrupted& interrupted) {
      if (part.size() >= best + kWorthwhileBytes) {
        best = part.size();
        failed = 0;
        pause = request.first_pause;
      }
      if (++failed >= request.attempts) {
        Throw(ErrorCode::kIo, "{} cannot be fetched: {} ({} attempts){}", request.url,
              interrupted.reason, failed,
              part.size() > 0 ? "; pull again to go on from there" : "");
      }
      Pause(pause, {part.size(), record.bytes, "trying again: " + interrupted.reason}, monitor);
      pause *= 2;
    }
  }
}

}  // namespace

void Download(const DownloadRequest& request, PullMonitor& monitor) {
  PartialFile part(request.target, monitor);
  PartRecord record = ReadPartRecord(request.target);
  if (part.size() > 0 && !record.Continues(request.url, part.size())) part.Restart();
  if (part.size() == 0) record = {};
  try {
    const bool complete = part.size() > 0 && part.size() == record.bytes;
    if (!complete) FetchBody(request, part, record, monitor);
  } catch (...) {
    if (part.size() == 0) RemovePartRecord(request.target);
    throw;
  }
  monitor.Report({part.size(), part.size(), "verifying"});
  RemovePartRecord(request.target);
  if (part.size() < std::ssize(kMagic)) {
    const std::int64_t bytes = part.size();
    part.Restart();
    Throw(ErrorCode::kCorruptFile, "{} is not a GGUF file: {} bytes", request.url, bytes);
  }
  part.Commit(record.bytes, request.sha256.empty() ? record.sha256 : request.sha256, request.url);
}

}  // namespace foveate
