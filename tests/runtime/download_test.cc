#include "runtime/download.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "runtime/part_record.h"
#include "tests/runtime/store_fixture.h"
#include "tests/support/fault_server.h"

namespace foveate {
namespace {

const std::string kBody = ModelBytes(300'001);

class DownloadTest : public testing::Test {
 protected:
  DownloadRequest Request(const FaultServer& server, const std::string& path = "/model.gguf") {
    return {.url = server.Url(path),
            .target = target_,
            .attempts = 3,
            .first_pause = std::chrono::milliseconds(1)};
  }
  void Fetch(const DownloadRequest& request) {
    PullMonitor monitor({}, nullptr);
    Download(request, monitor);
  }
  // The test passed when exactly the whole file is there.
  void ExpectTarget(const std::string& body) {
    EXPECT_EQ(ReadText(target_), body);
    EXPECT_EQ(folder_.Entries(), std::vector<std::string>{"model.gguf"});
  }
  void ExpectNothing() { EXPECT_EQ(folder_.Entries(), std::vector<std::string>{}); }
  std::int64_t PartBytes() {
    EXPECT_FALSE(std::filesystem::exists(target_));
    return static_cast<std::int64_t>(std::filesystem::file_size(target_ + ".part"));
  }

  ScopedEnvironment no_proxy_{{"no_proxy", "127.0.0.1"}};
  TemporaryFolder folder_;
  std::string target_ = folder_ / "model.gguf";
};

TEST_F(DownloadTest, FetchesAFileAndReportsProgress) {
  const FaultServer server(
      [](const HttpRequest& request) { return ServeFile(request, kBody, "\"v1\""); });
  std::vector<PullProgress> seen;
  PullMonitor monitor([&](const PullProgress& progress) { seen.push_back(progress); }, nullptr);
  Download(Request(server), monitor);
  ExpectTarget(kBody);
  ASSERT_FALSE(seen.empty());
  EXPECT_EQ(seen.back().bytes_done, std::ssize(kBody));
  EXPECT_EQ(seen.back().bytes_total, std::ssize(kBody));
}

TEST_F(DownloadTest, ResumesWhereTheConnectionWasCut) {
  std::atomic<int> count{0};
  const FaultServer server([&](const HttpRequest& request) {
    HttpReply reply = ServeFile(request, kBody, "\"v1\"");
    if (count++ == 0) reply.cut_after = 100'000;
    return reply;
  });
  Fetch(Request(server));
  ExpectTarget(kBody);
  const auto requests = server.Requests();
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_EQ(requests[1].headers.at("range"), "bytes=100000-");
  EXPECT_EQ(requests[1].headers.at("if-range"), "\"v1\"");
}

TEST_F(DownloadTest, CancellingKeepsWhatCameAndTheNextCallGoesOn) {
  std::atomic<bool> stall{true};
  const FaultServer server([&](const HttpRequest& request) {
    HttpReply reply = ServeFile(request, kBody, "\"v1\"");
    if (stall) {
      reply.cut_after = 1000;
      reply.stall = true;
    }
    return reply;
  });
  std::atomic<bool> cancel{false};
  PullMonitor monitor([&](const PullProgress& progress) { cancel = progress.bytes_done >= 1000; },
                      &cancel);
  const Error error = ErrorOf([&] { Download(Request(server), monitor); });
  EXPECT_EQ(error.code(), ErrorCode::kCancelled);
  EXPECT_EQ(PartBytes(), 1000);

  stall = false;
  Fetch(Request(server));
  ExpectTarget(kBody);
  EXPECT_EQ(server.Requests().back().headers.at("range"), "bytes=1000-");
}

TEST_F(DownloadTest, StartsAfreshFromAServerWithoutRanges) {
  std::atomic<int> count{0};
  const FaultServer server([&](const HttpRequest&) {
    HttpReply reply{.body = kBody};
    if (count++ == 0) reply.cut_after = 70'000;
    return reply;
  });
  Fetch(Request(server));
  ExpectTarget(kBody);
}

TEST_F(DownloadTest, NeverJoinsPiecesOfTwoVersions) {
  const std::string newer = ModelBytes(kBody.size(), 2);
  std::atomic<int> count{0};
  const FaultServer server([&](const HttpRequest& request) {
    if (count++ == 0) {
      return HttpReply{.headers = {{"ETag", "\"v1\""}}, .body = kBody, .cut_after = 50'000};
    }
    return ServeFile(request, newer, "\"v2\"");
  });
  Fetch(Request(server));
  ExpectTarget(newer);
}

TEST_F(DownloadTest, DistrustsAServerThatSendsAnotherRange) {
  std::atomic<int> count{0};
  const FaultServer server([&](const HttpRequest& request) {
    HttpReply reply = ServeFile(request, kBody, "\"v1\"");
    const int now = count++;
    if (now == 0) reply.cut_after = 50'000;
    if (now == 1) {
      reply.headers[1].second = fmt::format("bytes 49999-{}/{}", kBody.size() - 1, kBody.size());
    }
    return reply;
  });
  Fetch(Request(server));
  ExpectTarget(kBody);
}

TEST_F(DownloadTest, ADamagedRecordMeansAFreshStart) {
  const FaultServer server(
      [](const HttpRequest& request) { return ServeFile(request, kBody, "\"v1\""); });
  for (const std::string record : {"", "{", "[1]", "{\"url\": 3}"}) {
    WriteText(target_ + ".part", "GGUF but other bytes");
    WriteText(PartRecordName(target_), record);
    Fetch(Request(server));
    ExpectTarget(kBody);
    std::filesystem::remove(target_);
  }
}

TEST_F(DownloadTest, GivesUpOnAServerThatAnnouncesTooMuch) {
  const FaultServer server([](const HttpRequest&) {
    return HttpReply{.headers = {{"Content-Length", "400000"}}, .body = kBody};
  });
  const Error error = ErrorOf([&] { Fetch(Request(server)); });
  EXPECT_EQ(error.code(), ErrorCode::kIo);
  EXPECT_TRUE(Mentions(error, "cut after 300001 of 400000 bytes (3 attempts)"));
  EXPECT_TRUE(Mentions(error, server.Url("/model.gguf")));
  EXPECT_EQ(server.Requests().size(), 3u);
  EXPECT_EQ(PartBytes(), 300'001);
}

TEST_F(DownloadTest, RefusesALengthThatContradictsTheRepository) {
  const FaultServer server([](const HttpRequest&) {
    return HttpReply{.headers = {{"X-Linked-Size", "300002"}}, .body = kBody};
  });
  const Error error = ErrorOf([&] { Fetch(Request(server)); });
  EXPECT_EQ(error.code(), ErrorCode::kCorruptFile);
  EXPECT_TRUE(Mentions(error, "wrong length: the server sends 300001 bytes of 300002"));
  ExpectNothing();
}

TEST_F(DownloadTest, AChunkedBodyNeedsNoLength) {
  const FaultServer server([](const HttpRequest&) {
    const std::string chunked = fmt::format("3\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n",
                                            kBody.substr(0, 3), kBody.size() - 3, kBody.substr(3));
    return HttpReply{.headers = {{"Transfer-Encoding", "chunked"}}, .body = chunked};
  });
  Fetch(Request(server));
  ExpectTarget(kBody);
}

TEST_F(DownloadTest, NamesAddressAndStatusOfAMissingFile) {
  const FaultServer server(
      [](const HttpRequest&) { return HttpReply{.status = 404, .body = "GGUF? no"}; });
  const Error error = ErrorOf([&] { Fetch(Request(server)); });
  EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  EXPECT_TRUE(Mentions(error, server.Url("/model.gguf")));
  EXPECT_TRUE(Mentions(error, "404"));
  EXPECT_EQ(server.Requests().size(), 1u);
  ExpectNothing();
}

TEST_F(DownloadTest, FollowsRedirectsAndChecksTheHashStatedOnTheWay) {
  const auto serve = [](const std::string& sha256) {
    return [sha256](const HttpRequest& request) {
      if (request.path == "/model.gguf") {
        return HttpReply{.status = 302,
                         .headers = {{"Location", "/elsewhere"},
                                     {"X-Linked-Etag", "\"" + sha256 + "\""},
                                     {"X-Linked-Size", std::to_string(kBody.size())}},
                         .body = "<html>moved</html>"};
      }
      return ServeFile(request, kBody, "\"multipart-2\"");
    };
  };
  const FaultServer honest(serve(Sha256Of(kBody)));
  Fetch(Request(honest));
  ExpectTarget(kBody);
  std::filesystem::remove(target_);

  const std::string other = Sha256Of("other");
  const FaultServer wrong(serve(other));
  const Error error = ErrorOf([&] { Fetch(Request(wrong)); });
  EXPECT_EQ(error.code(), ErrorCode::kCorruptFile);
  EXPECT_TRUE(Mentions(error, "wrong sha256"));
  EXPECT_TRUE(Mentions(error, Sha256Of(kBody)));
  EXPECT_TRUE(Mentions(error, other));
  ExpectNothing();
}

TEST_F(DownloadTest, ChecksTheHashOfTheCallerAlsoAfterResuming) {
  std::atomic<int> count{0};
  const FaultServer server([&](const HttpRequest& request) {
    HttpReply reply = ServeFile(request, kBody, "\"v1\"");
    if (count++ % 2 == 0) reply.cut_after = 123'456;
    return reply;
  });
  DownloadRequest request = Request(server);
  request.sha256 = Sha256Of(kBody + "x");
  EXPECT_EQ(ErrorOf([&] { Fetch(request); }).code(), ErrorCode::kCorruptFile);
  ExpectNothing();
  request.sha256 = Sha256Of(kBody);
  Fetch(request);
  ExpectTarget(kBody);
}

TEST_F(DownloadTest, BoundsRedirects) {
  const FaultServer server([](const HttpRequest&) {
    return HttpReply{.status = 302, .headers = {{"Location", "/model.gguf"}}};
  });
  const Error error = ErrorOf([&] { Fetch(Request(server)); });
  EXPECT_EQ(error.code(), ErrorCode::kIo);
  EXPECT_TRUE(Mentions(error, "more than 5 redirects"));
  EXPECT_EQ(server.Requests().size(), 6u);
  ExpectNothing();
}

TEST_F(DownloadTest, LeavesTheWebForNothing) {
  WriteText(folder_ / "secret", kBody);
  const FaultServer server([&](const HttpRequest&) {
    return HttpReply{.status = 302, .headers = {{"Location", "file://" + (folder_ / "secret")}}};
  });
  const Error error = ErrorOf([&] { Fetch(Request(server)); });
  EXPECT_EQ(error.code(), ErrorCode::kIo);
  EXPECT_TRUE(Mentions(error, "leads to an address that is not http or https"));
  EXPECT_FALSE(std::filesystem::exists(target_));
}

TEST_F(DownloadTest, RefusesWhatIsNoModel) {
  for (const std::string body : {"<!DOCTYPE html>", "GGU", "GGM", ""}) {
    const FaultServer server([&](const HttpRequest&) {
      return HttpReply{.headers = {{"Content-Type", "text/html"}}, .body = body};
    });
    const Error error = ErrorOf([&] { Fetch(Request(server)); });
    EXPECT_EQ(error.code(), ErrorCode::kCorruptFile);
    EXPECT_TRUE(Mentions(error, "is not a GGUF file"));
    ExpectNothing();
  }
}

TEST_F(DownloadTest, AFullDiskIsNamedAndLeavesNoTarget) {
  const FaultServer server(
      [](const HttpRequest& request) { return ServeFile(request, kBody, "\"v1\""); });
  std::filesystem::create_symlink("/dev/full", target_ + ".part");
  const Error error = ErrorOf([&] { Fetch(Request(server)); });
  EXPECT_EQ(error.code(), ErrorCode::kIo);
  EXPECT_TRUE(Mentions(error, "no space left on the disk"));
  EXPECT_TRUE(Mentions(error, target_));
  EXPECT_EQ(server.Requests().size(), 1u);
  ExpectNothing();
}

TEST_F(DownloadTest, AFileLargerThanTheDiskIsRefusedBeforeItsFirstByte) {
  const FaultServer server([](const HttpRequest&) {
    return HttpReply{.headers = {{"Content-Length", "4000000000000000000"}}, .body = kBody};
  });
  const Error error = ErrorOf([&] { Fetch(Request(server)); });
  EXPECT_EQ(error.code(), ErrorCode::kIo);
  EXPECT_TRUE(Mentions(error, "4000000000000000000 bytes needed"));
  ExpectNothing();
}

TEST_F(DownloadTest, TriesAgainWhileAServerIsBusy) {
  std::atomic<int> count{0};
  std::atomic<int> busy{2};
  const FaultServer server([&](const HttpRequest& request) {
    if (count++ < busy) return HttpReply{.status = 503};
    return ServeFile(request, kBody, "\"v1\"");
  });
  Fetch(Request(server));
  ExpectTarget(kBody);
  std::filesystem::remove(target_);

  busy = 100;
  const Error error = ErrorOf([&] { Fetch(Request(server)); });
  EXPECT_EQ(error.code(), ErrorCode::kIo);
  EXPECT_TRUE(Mentions(error, "HTTP status 503"));
  EXPECT_EQ(server.Requests().size(), 3u + 3u);
  ExpectNothing();
}

TEST_F(DownloadTest, NamesAServerThatIsNotThere) {
  std::string url;
  {
    const FaultServer gone([](const HttpRequest&) { return HttpReply{}; });
    url = gone.Url("/model.gguf");
  }
  const Error error = ErrorOf([&] {
    Fetch({.url = url,
           .target = target_,
           .attempts = 2,
           .first_pause = std::chrono::milliseconds(1)});
  });
  EXPECT_EQ(error.code(), ErrorCode::kIo);
  EXPECT_TRUE(Mentions(error, url));
  ExpectNothing();
}

TEST_F(DownloadTest, RefusesOtherProtocols) {
  WriteText(folder_ / "file", kBody);
  const Error error =
      ErrorOf([&] { Fetch({.url = "file://" + (folder_ / "file"), .target = target_}); });
  EXPECT_EQ(error.code(), ErrorCode::kIo);
  EXPECT_FALSE(std::filesystem::exists(target_));
}

}  // namespace
}  // namespace foveate
