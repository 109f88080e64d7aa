#include "mechanisms/nearest.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace foveate {
namespace {

constexpr std::size_t kShown = 3;
constexpr std::size_t kMostLetters = 64;  // of an unknown name; more tell nothing

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = 'A' <= c && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return lower;
}

// Letters to insert, delete or replace (Levenshtein).
std::size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string NearestNames(std::string_view name, const std::vector<std::string_view>& names) {
  const std::string lower = Lower(name.substr(0, kMostLetters));
  std::vector<std::pair<std::size_t, std::string_view>> near;  // distance and name
  near.reserve(names.size());
  for (const std::string_view known : names) near.emplace_back(EditDistance(lower, known), known);
  std::sort(near.begin(), near.end());
  near.resize(std::min(near.size(), kShown));
  std::string text;
  for (const auto& [distance, known] : near) {
    text += (text.empty() ? "" : ", ") + std::string(known);
  }
  return text;
}

}  // namespace foveate
