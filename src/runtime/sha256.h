// SHA-256 of bytes as they come, through libcrypto (which uses the machine's own instructions).
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace foveate {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void Update(std::span<const std::byte> bytes);
  // 64 lower-case hexadecimal digits; the object is used up.
  std::string HexDigest();

 private:
  struct Deleter {
    void operator()(void* context) const;
  };
  std::unique_ptr<void, Deleter> context_;  // EVP_MD_CTX
};

// `text` in lower case, when it is 64 hexadecimal digits.
std::optional<std::string> ParseSha256(std::string_view text);

}  // namespace foveate
