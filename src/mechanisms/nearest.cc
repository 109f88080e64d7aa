#include "mechanisms/nearest.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

namespace foveate {
namespace {

constexpr std::size_t kShown = 3;
constexpr std::size_t kMostLetters = 64;  // of an unknown name; more tell nothing

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
  name = name.substr(0, kMostLetters);
  std::vector<std::string_view> sorted = names;
  std::stable_sort(sorted.begin(), sorted.end(), [&](std::string_view a, std::string_view b) {
    return EditDistance(name, a) < EditDistance(name, b);
  });
  sorted.resize(std::min(sorted.size(), kShown));
  return fmt::format("{}", fmt::join(sorted, ", "));
}

}  // namespace foveate
