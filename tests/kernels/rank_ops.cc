#include "tests/kernels/rank_ops.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

#include "tests/kernels/compare.h"
#include "tests/kernels/device.h"
#include "tests/kernels/run_op.h"
#include "tests/support/catch.h"

namespace seer::testing {
namespace {

constexpr int64_t kWidth = 72;  // no multiple of a block of threads

float value(int64_t row, int64_t column) { return static_cast<float>((row * 7 + column) % 61 - 30); }

std::vector<float> values(int64_t n_rows, int64_t width, int64_t first_row = 0) {
  std::vector<float> out;
  for (int64_t r = 0; r < n_rows; ++r)
    for (int64_t c = 0; c < width; ++c) out.push_back(value(first_row + r, c));
  return out;
}

std::vector<uint16_t> read_bits(Backend& backend, const Tensor& t) {
  std::vector<uint16_t> bits(static_cast<size_t>(t.numel()));
  backend.read(bits.data(), t);
  return bits;
}

}  // namespace

void check_partial_embed(Backend& backend) {
  Device device(&backend);
  constexpr int64_t kFirst = 16, kIds = 8;
  const std::vector<int32_t> ids = {15, 16, 0, 23, 24, 20, 1000};
  const auto n = static_cast<int64_t>(ids.size());
  const Tensor table = device.upload(HostTensor(DType::kBF16, {kIds, kWidth}, values(kIds, kWidth, kFirst)));
  const Tensor out = device.poisoned(backend.activation_dtype(), {n, kWidth});
  StepLimits limits;
  limits.n_tokens = n;
  limits.n_logits = 1;
  limits.n_blocks = 1;
  limits.page_tokens = 64;
  backend.prepare(limits);
  StepInput in;
  in.ids = ids;
  in.step.n_tokens = n;
  backend.begin_step(in, 64);
  backend.embed(out, table, kFirst);
  std::vector<float> expected;
  for (const int32_t id : ids) {
    const bool here = id >= kFirst && id < kFirst + kIds;
    for (int64_t c = 0; c < kWidth; ++c) expected.push_back(here ? value(id, c) : 0.0F);
  }
  CHECK(device.read(out) == expected);
}

void check_add(Backend& backend) {
  for (const int64_t n : {int64_t{1}, int64_t{33}, int64_t{300}})
    for (const bool wide : {false, true}) {
      INFO(n << " rows, float32 " << wide);
      Device device(&backend);
      const Tensor x = device.upload(HostTensor(backend.activation_dtype(), {n, kWidth}, values(n, kWidth)));
      const HostTensor more(backend.activation_dtype(), {n, kWidth}, values(n, kWidth, 3));
      backend.add(x, wide ? device.upload_f32(more) : device.upload(more));
      std::vector<float> expected = values(n, kWidth);
      for (size_t i = 0; i < expected.size(); ++i) expected[i] += more.values[i];
      CHECK(device.read(x) == expected);
    }
}

void check_copy_columns(Backend& backend) {
  Device device(&backend);
  constexpr int64_t kRows = 5, kLeft = 7, kRight = 20;
  const Tensor out = device.poisoned(DType::kF32, {kRows, kLeft + kRight});
  std::vector<float> left, right, expected;
  for (int64_t r = 0; r < kRows; ++r)
    for (int64_t c = 0; c < kLeft + kRight; ++c) {
      (c < kLeft ? left : right).push_back(value(r, c));
      expected.push_back(value(r, c));
    }
  backend.copy_columns(out, 0, device.upload_f32(HostTensor(DType::kF32, {kRows, kLeft}, left)));
  backend.copy_columns(out, kLeft, device.upload_f32(HostTensor(DType::kF32, {kRows, kRight}, right)));
  CHECK(device.read(out) == expected);
}

void check_copy_rows(Backend& backend) {
  // Runs that are contiguous on both sides, on one side, and single rows.
  const std::vector<int64_t> from = {4, 5, 6, 0, 2, 1, 3}, to = {1, 2, 3, 8, 0, 5, 6};
  for (const bool wide : {false, true}) {
    INFO("float32 " << wide);
    Device device(&backend);
    const auto upload = [&](const std::vector<float>& host) {
      const DType type = wide ? DType::kF32 : backend.activation_dtype();
      const HostTensor t(type, {static_cast<int64_t>(host.size()) / kWidth, 2, kWidth / 2}, host);
      return wide ? device.upload_f32(t) : device.upload(t);
    };
    const Tensor in = upload(values(7, kWidth)), out = upload(values(9, kWidth, 100));
    std::vector<float> expected = values(9, kWidth, 100);
    backend.copy_rows(out, {}, in, {});
    CHECK(device.read(out) == expected);
    backend.copy_rows(out, to, in, from);
    for (size_t i = 0; i < to.size(); ++i)
      for (int64_t c = 0; c < kWidth; ++c)
        expected[static_cast<size_t>(to[i] * kWidth + c)] = value(from[i], c);
    CHECK(device.read(out) == expected);
  }
}

void check_rows_to_host(Backend& backend) {
  // A run, single rows, and rows in another order than on the device.
  const std::vector<int64_t> rows = {4, 5, 6, 0, 2, 1};
  Device device(&backend);
  const auto upload = [&](const std::vector<float>& host) {
    return device.upload_f32(
        HostTensor(DType::kF32, {static_cast<int64_t>(host.size()) / kWidth, 2, kWidth / 2}, host));
  };
  const Tensor in = upload(values(8, kWidth)), out = upload(values(8, kWidth, 100));
  // Between the rows on the host lie bytes that are not theirs.
  constexpr size_t kStride = static_cast<size_t>(kWidth) + 3;
  const std::vector<float> untouched(rows.size() * kStride, -1.0F);
  std::vector<float> host = untouched, expected = untouched;
  const auto bytes = [](std::vector<float>& v) { return reinterpret_cast<std::byte*>(v.data()); };
  backend.read_rows(bytes(host), kStride * sizeof(float), in, {});
  CHECK(host == untouched);
  backend.read_rows(bytes(host), kStride * sizeof(float), in, rows);
  for (size_t i = 0; i < rows.size(); ++i)
    for (int64_t c = 0; c < kWidth; ++c) expected[i * kStride + static_cast<size_t>(c)] = value(rows[i], c);
  CHECK(host == expected);
  backend.write_rows(out, {}, bytes(host), kStride * sizeof(float));
  CHECK(device.read(out) == values(8, kWidth, 100));
  backend.write_rows(out, rows, bytes(host), kStride * sizeof(float));
  std::vector<float> written = values(8, kWidth);
  for (const int64_t row : {3, 7})  // are not among them
    for (int64_t c = 0; c < kWidth; ++c) written[static_cast<size_t>(row * kWidth + c)] = value(row + 100, c);
  CHECK(device.read(out) == written);
}

void check_mark_blocks(Backend& backend) {
  Device device(&backend);
  constexpr int64_t kRanks = 3, kBlocks = 300;
  const Tensor marks = device.poisoned(DType::kF32, {kRanks, kBlocks});
  backend.mark_blocks(marks, 1, {});
  std::vector<float> expected(static_cast<size_t>(kRanks * kBlocks), 0.0F);
  CHECK(device.read(marks) == expected);
  // Two heads of two rows. Entries after a row's count do not belong to it.
  const BlockMask few{device.upload(std::vector<int32_t>{1, 2, 3, 1}, {2, 2}),
                      device.upload(std::vector<int32_t>{0, 9, 9, 4, 7, 9, 0, 1, 2, 7, 9, 9}, {2, 2, 3})};
  std::vector<int32_t> all(static_cast<size_t>(kBlocks));
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int32_t>(i);
  const BlockMask many{device.upload(std::vector<int32_t>{250}, {1, 1}), device.upload(all, {1, 1, kBlocks})};
  const std::vector<BlockMask> masks = {few, many};
  backend.mark_blocks(marks, 2, std::span(masks).first(1));
  for (const size_t b : {0, 1, 2, 4, 7}) expected[2 * kBlocks + b] = 1.0F;
  CHECK(device.read(marks) == expected);
  backend.mark_blocks(marks, 0, masks);
  std::fill(expected.begin(), expected.end(), 0.0F);
  std::fill_n(expected.begin(), 250, 1.0F);
  CHECK(device.read(marks) == expected);
}

// Rows of one head: element d of part p is 10 p + d.
void check_merge_without_keys(Backend& backend) {
  constexpr int64_t kDHead = 64;
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  // By row, the logarithms of each part, and the expected element 0: ten times the mean of p, unless all are
  // zeros.
  struct Row {
    std::vector<float> log_sums;
    std::optional<double> expected;
  };
  const std::vector<Row> rows = {
      {{1.0F, kNone, kNone, kNone}, 0.0},
      {{kNone, kNone, kNone, -7.0F}, 30.0},
      {{kNone, 2.0F, kNone, 2.0F}, 20.0},
      {{kNone, kNone, kNone, kNone}, std::nullopt},
      {{0.0F, kNone, std::log(3.0F), kNone}, 15.0},  // a quarter and three
      {{-300.0F, -200.0F, kNone, -400.0F}, 10.0},    // a sum of exponentials fits no float
      {{500.0F, kNone, 100.0F, 500.0F}, 15.0},
      {{1.0F, kNan, kNone, 1.0F}, kUntouched},  // and NaN stays NaN
  };
  const auto n = static_cast<int64_t>(rows.size());
  const auto n_parts = static_cast<int64_t>(rows.front().log_sums.size());
  const int64_t size = attention_part_size(n, 1, kDHead);
  HostTensor parts = HostTensor::filled(DType::kF32, {n_parts, size}, 0.0F);
  std::vector<double> expected;
  for (int64_t r = 0; r < n; ++r) {
    const Row& row = rows[static_cast<size_t>(r)];
    for (int64_t p = 0; p < n_parts; ++p) {
      const float log_sum = row.log_sums[static_cast<size_t>(p)];
      parts.at(p)[n * kDHead + r] = log_sum;
      for (int64_t d = 0; d < kDHead && log_sum != kNone; ++d)
        parts.at(p)[r * kDHead + d] = static_cast<float>(10 * p + d);
    }
    for (int64_t d = 0; d < kDHead; ++d)
      expected.push_back(row.expected ? *row.expected + static_cast<double>(d) : 0.0);
  }
  CHECK(mismatch(run_merge_attention(backend, parts, n, 1, kDHead), expected, {1e-5, 1.0 / 256}) == "");
}

void check_random_slices(Backend& backend) {
  constexpr int64_t kRows = 40, kColumns = 24;
  std::vector<Buffer> keep;
  const auto allocate = [&](int64_t n_rows, int64_t n_columns) {
    Tensor t(nullptr, DType::kBF16, {n_rows, n_columns});
    keep.push_back(backend.allocate(t.nbytes(), "a test"));
    t.data = keep.back().get();
    return t;
  };
  const Tensor whole = allocate(kRows, kColumns), rows = allocate(10, kColumns), columns = allocate(kRows, 8);
  backend.fill_random(whole, 3, 0.0F, 1.0F, {});
  backend.fill_random(rows, 3, 0.0F, 1.0F, {.first = 12 * kColumns, .stride = kColumns});
  backend.fill_random(columns, 3, 0.0F, 1.0F, {.first = 16, .stride = kColumns});
  const std::vector<uint16_t> all = read_bits(backend, whole);
  CHECK(read_bits(backend, rows) ==
        std::vector<uint16_t>(all.begin() + 12 * kColumns, all.begin() + 22 * kColumns));
  std::vector<uint16_t> expected;
  for (int64_t r = 0; r < kRows; ++r)
    expected.insert(expected.end(), all.begin() + r * kColumns + 16, all.begin() + (r + 1) * kColumns);
  CHECK(read_bits(backend, columns) == expected);
}

}  // namespace seer::testing
