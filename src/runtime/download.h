// One model file over HTTP(S): resumed where an earlier attempt ended, retried when the connection
// breaks, verified, and given its name only when it is whole.
#pragma once

#include <chrono>
#include <string>

#include "runtime/pull_monitor.h"

namespace foveate {

struct DownloadRequest {
  std::string url;
  std::string target;  // path of the finished file; its folder exists
  std::string sha256 =
      {};  // 64 lower-case hex digits; empty: what the server states, if it states one
  std::string ca_file = {};  // certificates to trust; empty: the system's
  int attempts = 5;          // in a row without progress worth mentioning, before giving up
  std::chrono::milliseconds first_pause{500};  // before the second attempt; doubles each time
};

// Fetches `url` into `target`. The bytes that came before an interruption (a broken connection, a
// full disk, cancellation) stay in "<target>.part" and the next call goes on from there, provided
// that the server still has the same file (ETag or size). At most 5 redirects, never from https to
// http. Throws Error naming the URL: kNotFound (404), kIo (connection, other HTTP status, disk),
// kCorruptFile (wrong length or hash, not a GGUF file: nothing is kept), kCancelled.
void Download(const DownloadRequest& request, PullMonitor& monitor);

}  // namespace foveate
