#include "tests/kernels/record_copies.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "tests/kernels/cases.h"
#include "tests/kernels/device.h"
#include "tests/support/catch.h"

namespace seer::testing {
namespace {

using Bytes = std::vector<std::byte>;

// The widths of tensors [n_rows, width] of float32 or bf16.
struct Shape {
  std::string name;
  std::vector<std::pair<DType, int64_t>> parts;
  int64_t n_rows;
};

Bytes random_bytes(int64_t n, Random* random) {
  Bytes bytes(static_cast<size_t>(n));
  for (std::byte& b : bytes) b = static_cast<std::byte>(random->next() & 0x3F);  // no NaN among them
  return bytes;
}

void check_shape(Backend& backend, const Shape& shape, bool by_parts, bool in_a_row) {
  INFO(shape.name << (by_parts ? ", by parts" : "") << (in_a_row ? ", in a row" : ", with gaps"));
  Random random(11);
  std::vector<RecordPart> parts;
  std::vector<Bytes> contents;
  std::vector<Buffer> keep;
  int64_t record_bytes = 0;
  for (const auto& [dtype, width] : shape.parts) {
    RecordPart part{{nullptr, dtype, {shape.n_rows, width}}, record_bytes};
    const Buffer buffer = keep.emplace_back(backend.allocate(part.device.nbytes(), "a test"));
    part.device.data = buffer.get();
    record_bytes += part.row_bytes();
    contents.push_back(random_bytes(part.device.nbytes(), &random));
    parts.push_back(part);
  }
  const auto copier = backend.make_record_copier(parts, record_bytes);
  const auto read_all = [&](size_t i) {
    Bytes bytes(contents[i].size());
    backend.read(bytes.data(), parts[i].device);
    return bytes;
  };
  // The records lie in another order than the rows, and with gaps, or one after the other.
  const std::vector<int32_t> rows = random.permutation(shape.n_rows);
  std::vector<int32_t> places = random.permutation(shape.n_rows);
  if (in_a_row) std::iota(places.begin(), places.end(), 0);
  const int64_t stride = record_bytes + (in_a_row ? 0 : 16);
  Bytes host(static_cast<size_t>(stride * shape.n_rows), std::byte{0x7F});
  const auto expected_record = [&](int32_t row) {
    Bytes record;
    for (size_t i = 0; i < parts.size(); ++i) {
      const auto begin = contents[i].begin() + row * parts[i].row_bytes();
      record.insert(record.end(), begin, begin + parts[i].row_bytes());
    }
    return record;
  };
  std::vector<std::byte*> records;
  std::vector<const std::byte*> constant;
  for (const int32_t place : places) {
    records.push_back(host.data() + place * stride);
    constant.push_back(records.back());
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    const Bytes record = expected_record(rows[i]);
    std::copy(record.begin(), record.end(), records[i]);
  }
  // All rows but one are written; that one stays as it was.
  const size_t n = rows.size() - 1;
  for (size_t i = 0; i < parts.size(); ++i) {
    const int64_t row = parts[i].row_bytes();
    const Bytes before = read_all(i);
    std::copy_n(before.begin() + rows[n] * row, row, contents[i].begin() + rows[n] * row);
  }
  const std::span first_rows = std::span(rows).first(n);
  const std::span first_records = std::span<const std::byte* const>(constant).first(n);
  if (!by_parts) {
    copier->write({}, {});
    copier->write(first_rows, first_records);
  } else {
    // Part by part, then the last two at once. What is not written yet must stay as it was.
    copier->write({}, {}, {0, 1});
    for (size_t part = 0; part < parts.size();) {
      const size_t end = part + 2 == parts.size() ? part + 2 : part + 1;
      std::vector<Bytes> later;
      for (size_t i = end; i < parts.size(); ++i) later.push_back(read_all(i));
      copier->write(first_rows, first_records, {part, end});
      for (size_t i = end; i < parts.size(); ++i) CHECK(read_all(i) == later[i - end]);
      part = end;
    }
  }
  for (size_t i = 0; i < parts.size(); ++i) CHECK(read_all(i) == contents[i]);
  // They come back in another order.
  std::vector<int32_t> reversed(rows.rbegin(), rows.rend());
  std::fill(host.begin(), host.end(), std::byte{0x7F});
  copier->read({}, {});
  copier->read(reversed, records);
  for (size_t i = 0; i < reversed.size(); ++i) {
    CHECK(Bytes(records[i], records[i] + record_bytes) == expected_record(reversed[i]));
    CHECK(std::all_of(records[i] + record_bytes, records[i] + stride,
                      [](std::byte b) { return b == std::byte{0x7F}; }));
  }
}

}  // namespace

void check_record_copies(Backend& backend) {
  const Shape shapes[] = {
      {"sizes that 16 divides, and more rows than a launch has",
       {{DType::kF32, 4}, {DType::kF32, 1032}, {DType::kBF16, 8}},
       150},
      {"sizes that 4 divides", {{DType::kF32, 3}, {DType::kF32, 257}}, 5},
      {"sizes that 2 divides", {{DType::kBF16, 3}, {DType::kF32, 5}, {DType::kBF16, 1}}, 7},
      {"records of more than the GPU's buffer", {{DType::kF32, int64_t{3} << 20}, {DType::kF32, 8}}, 4}};
  for (const Shape& shape : shapes)
    for (const bool by_parts : {false, true})
      for (const bool in_a_row : {false, true}) check_shape(backend, shape, by_parts, in_a_row);
}

}  // namespace seer::testing
