#include "cli/mask_picture.h"

#include <fmt/format.h>

#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb/stb_image_write.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/throw.h"
#include "cli/output.h"

namespace foveate::cli {
namespace {

constexpr std::int64_t kWideCells = 40;     // up to here a cell is two characters wide: a square
constexpr std::int64_t kPictureSize = 512;  // pixels that a picture's longer side has at least

struct Look {
  std::string_view character;
  std::string_view svg_colour;
  std::array<std::uint8_t, 3> rgb;
};

const Look& LookOf(TileKind kind) {
  static constexpr Look kEmpty{"·", "#f4f4f4", {0xf4, 0xf4, 0xf4}};
  static constexpr Look kPartial{"▒", "#8db7dd", {0x8d, 0xb7, 0xdd}};
  static constexpr Look kFull{"█", "#1f4e79", {0x1f, 0x4e, 0x79}};
  if (kind == TileKind::kEmpty) return kEmpty;
  return kind == TileKind::kFull ? kFull : kPartial;
}

std::int64_t CellPixels(const TileGrid& grid) {
  return std::max<std::int64_t>(1, kPictureSize / std::max({grid.rows, grid.columns, INT64_C(1)}));
}

// One rectangle per run of equal tiles.
std::string Svg(const TileGrid& grid) {
  const std::int64_t size = CellPixels(grid);
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} "
      "{1}\" "
      "shape-rendering=\"crispEdges\">\n<rect width=\"{0}\" height=\"{1}\" fill=\"{2}\"/>\n",
      grid.columns * size, grid.rows * size, LookOf(TileKind::kEmpty).svg_colour);
  for (std::int64_t row = 0; row < grid.rows; ++row) {
    for (std::int64_t begin = 0, end = 0; begin < grid.columns; begin = end) {
      const TileKind kind = grid.At(row, begin);
      for (end = begin + 1; end < grid.columns && grid.At(row, end) == kind; ++end) {
      }
      if (kind == TileKind::kEmpty) continue;
      svg += fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{}\"/>\n",
                         begin * size, row * size, (end - begin) * size, size,
                         LookOf(kind).svg_colour);
    }
  }
  return svg + "</svg>\n";
}

void WritePng(const std::string& path, const TileGrid& grid) {
  const std::int64_t size = CellPixels(grid);
  const std::int64_t width = grid.columns * size, height = grid.rows * size;
  std::vector<std::uint8_t> pixels;
  pixels.reserve(width * height * 3);
  for (std::int64_t y = 0; y < height; ++y) {
    for (std::int64_t x = 0; x < width; ++x) {
      const auto& rgb = LookOf(grid.At(y / size, x / size)).rgb;
      pixels.insert(pixels.end(), rgb.begin(), rgb.end());
    }
  }
  const int ok = stbi_write_png(path.c_str(), static_cast<int>(width), static_cast<int>(height), 3,
                                pixels.data(), static_cast<int>(width * 3));
  if (ok == 0) Throw(ErrorCode::kIo, "cannot write {}", path);
}

bool EndsWith(const std::string& text, std::string_view end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

}  // namespace

std::int64_t PictureTile(const AttentionShape& shape, std::int64_t tile, std::int64_t cells) {
  // One more tile than fits is there where a call does not begin at a multiple of the tile.
  while ((std::max(shape.queries, shape.keys) - 1) / tile + 1 > cells) tile *= 2;
  return tile;
}

std::string TerminalPicture(const TileGrid& grid) {
  const int width = grid.columns <= kWideCells ? 2 : 1;
  std::string picture;
  for (std::int64_t row = 0; row < grid.rows; ++row) {
    for (std::int64_t column = 0; column < grid.columns; ++column) {
      for (int i = 0; i < width; ++i) picture += LookOf(grid.At(row, column)).character;
    }
    picture += '\n';
  }
  return picture;
}

void WritePicture(const std::string& path, const TileGrid& grid) {
  if (EndsWith(path, ".svg")) return WriteFile(path, Svg(grid));
  if (EndsWith(path, ".png")) return WritePng(path, grid);
  Throw(ErrorCode::kInvalidArgument, "{}: expected a name that ends in .svg or .png", path);
}

}  // namespace foveate::cli
