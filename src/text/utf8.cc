#include "text/utf8.h"

#include <cstdint>
#include <cstring>

namespace foveate {
namespace {

// The well-formed sequences, table 3-7 of the standard: what the second byte may be, and how many
// continuation bytes follow the lead.
struct LeadRule {
  int continuations = -1;  // -1: never a lead byte
  unsigned char second_low = 0x80;
  unsigned char second_high = 0xBF;
};

LeadRule RuleFor(unsigned char lead) {
  if (lead < 0x80) return {0};
  if (lead < 0xC2) return {};
  if (lead < 0xE0) return {1};
  if (lead == 0xE0) return {2, 0xA0, 0xBF};
  if (lead == 0xED) return {2, 0x80, 0x9F};
  if (lead < 0xF0) return {2};
  if (lead == 0xF0) return {3, 0x90, 0xBF};
  if (lead < 0xF4) return {3};
  if (lead == 0xF4) return {3, 0x80, 0x8F};
  return {};
}

// Bytes of ASCII at the start of `text`, counted eight at a time.
std::size_t AsciiPrefix(std::string_view text) {
  std::size_t at = 0;
  for (; at + 8 <= text.size(); at += 8) {
    std::uint64_t word;
    std::memcpy(&word, text.data() + at, 8);
    if ((word & 0x8080808080808080u) != 0) break;
  }
  while (at < text.size() && static_cast<unsigned char>(text[at]) < 0x80) ++at;
  return at;
}

}  // namespace

Utf8Step ReadUtf8(std::string_view text, std::size_t at) {
  const auto lead = static_cast<unsigned char>(text[at]);
  const LeadRule rule = RuleFor(lead);
  if (rule.continuations < 0) return {};
  if (rule.continuations == 0) return {lead, 1, Utf8Step::Status::kValid};
  char32_t code = lead & (0x3Fu >> rule.continuations);
  for (int i = 1; i <= rule.continuations; ++i) {
    const auto length = static_cast<std::size_t>(i);
    if (at + length == text.size()) {
      return {kReplacementCharacter, length, Utf8Step::Status::kTruncated};
    }
    const auto byte = static_cast<unsigned char>(text[at + length]);
    const unsigned char low = i == 1 ? rule.second_low : 0x80;
    const unsigned char high = i == 1 ? rule.second_high : 0xBF;
    if (byte < low || byte > high) {
      return {kReplacementCharacter, length, Utf8Step::Status::kInvalid};
    }
    code = code << 6 | (byte & 0x3Fu);
  }
  return {code, static_cast<std::size_t>(rule.continuations) + 1, Utf8Step::Status::kValid};
}

bool IsValidUtf8(std::string_view text) {
  for (;;) {
    text.remove_prefix(AsciiPrefix(text));
    if (text.empty()) return true;
    const Utf8Step step = ReadUtf8(text, 0);
    if (step.status != Utf8Step::Status::kValid) return false;
    text.remove_prefix(step.length);
  }
}

std::size_t IncompleteUtf8Tail(std::string_view text) {
  // Only a lead byte can be truncated, and a lead byte always begins something new.
  for (std::size_t tail = 1; tail <= 3 && tail <= text.size(); ++tail) {
    if (ReadUtf8(text, text.size() - tail).status == Utf8Step::Status::kTruncated) return tail;
  }
  return 0;
}

void AppendUtf8(char32_t code, std::string& out) {
  const auto put = [&out](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  const auto continuation = [&](int shift) { put(0x80 | (code >> shift & 0x3F)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | code >> 6);
    continuation(0);
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12);
    continuation(6);
    continuation(0);
  } else {
    put(0xF0 | code >> 18);
    continuation(12);
    continuation(6);
    continuation(0);
  }
}

void AppendRepairedUtf8(std::string_view text, std::string& out) {
  while (!text.empty()) {
    const std::size_t ascii = AsciiPrefix(text);
    out.append(text.substr(0, ascii));
    text.remove_prefix(ascii);
    if (text.empty()) return;
    const Utf8Step step = ReadUtf8(text, 0);
    if (step.status == Utf8Step::Status::kValid) {
      out.append(text.substr(0, step.length));
    } else {
      AppendUtf8(kReplacementCharacter, out);
    }
    text.remove_prefix(step.length);
  }
}

}  // namespace foveate
