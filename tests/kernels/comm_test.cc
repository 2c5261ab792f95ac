// Communicators: the results of every rank, and that a lost or failed rank ends the waits of the others.
#include <numeric>

#include "kernels/comm/message.h"
#include "kernels/comm/processes.h"
#include "tests/support/catch.h"
#include "tests/support/thread_ranks.h"

namespace seer {
namespace {

using testing::ThreadRanks;

// Counts around the sizes of the shared areas: 32 KiB for a small one, 1 MiB for slots.
constexpr int64_t kCounts[] = {1, 63, 64, 8192, 8193, (1 << 18) - 1, 1 << 18, (1 << 18) + 1, 600001};

Tensor floats(std::vector<float>* values) {
  return Tensor(values->data(), DType::kF32, {static_cast<int64_t>(values->size())});
}

float value(int rank, int64_t i) { return static_cast<float>(rank * 1000 + i % 251); }

std::vector<float> values_of(int rank, int64_t n) {
  std::vector<float> values(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) values[static_cast<size_t>(i)] = value(rank, i);
  return values;
}

TEST_CASE("all_reduce_sum gives every rank the same sums, at any size") {
  for (const int n_ranks : {2, 3, 4}) {
    ThreadRanks ranks(n_ranks);
    for (const int64_t n : kCounts) {
      std::vector<std::vector<float>> sums(static_cast<size_t>(n_ranks));
      ranks.run_all([&](Communicator& comm) {
        std::vector<float>& mine = sums[static_cast<size_t>(comm.rank())];
        mine = values_of(comm.rank(), n);
        comm.all_reduce_sum(floats(&mine));
      });
      std::vector<float> expected(static_cast<size_t>(n), 0.0F);
      for (int r = 0; r < n_ranks; ++r)
        for (int64_t i = 0; i < n; ++i) expected[static_cast<size_t>(i)] += value(r, i);
      for (const std::vector<float>& sum : sums) CHECK(sum == expected);
    }
  }
}

TEST_CASE("gather and all_gather put uneven parts one after the other") {
  for (const int64_t n : kCounts) {
    ThreadRanks ranks(3);
    const std::vector<int64_t> counts = {n, 0, n + 5};
    std::vector<float> expected;
    for (int r = 0; r < 3; ++r) {
      const std::vector<float> part = values_of(r, counts[static_cast<size_t>(r)]);
      expected.insert(expected.end(), part.begin(), part.end());
    }
    std::vector<std::vector<float>> on_root(3), on_all(3);
    ranks.run_all([&](Communicator& comm) {
      const auto r = static_cast<size_t>(comm.rank());
      std::vector<float> mine = values_of(comm.rank(), counts[r]);
      on_root[r].resize(expected.size());
      on_all[r].resize(expected.size());
      comm.gather(r == 0 ? floats(&on_root[r]) : Tensor(), floats(&mine), counts);
      comm.all_gather(floats(&on_all[r]), floats(&mine), counts);
    });
    CHECK(on_root[0] == expected);
    for (const std::vector<float>& all : on_all) CHECK(all == expected);
  }
}

TEST_CASE("gather and all_gather count elements of the tensors' type: bf16 has two bytes") {
  for (const int64_t n : kCounts) {
    ThreadRanks ranks(3);
    const std::vector<int64_t> counts = {n, 0, n + 5};
    std::vector<uint16_t> expected;
    for (uint16_t r = 0; r < 3; ++r)
      for (int64_t i = 0; i < counts[r]; ++i) expected.push_back(static_cast<uint16_t>(r * 1000 + i % 251));
    const auto halves = [](std::vector<uint16_t>* values) {
      return Tensor(values->data(), DType::kBF16, {static_cast<int64_t>(values->size())});
    };
    std::vector<std::vector<uint16_t>> on_root(3), on_all(3);
    ranks.run_all([&](Communicator& comm) {
      const auto r = static_cast<size_t>(comm.rank());
      const auto before = r == 2 ? expected.end() - counts[2] : expected.begin();
      std::vector<uint16_t> mine(before, before + counts[r]);
      on_root[r].resize(expected.size());
      on_all[r].resize(expected.size());
      comm.gather(r == 0 ? halves(&on_root[r]) : Tensor(), halves(&mine), counts);
      comm.all_gather(halves(&on_all[r]), halves(&mine), counts);
    });
    CHECK(on_root[0] == expected);
    for (const std::vector<uint16_t>& all : on_all) CHECK(all == expected);
  }
}

TEST_CASE("broadcast and gather_host carry any number of bytes, zero among them") {
  for (const int64_t n :
       {int64_t{0}, int64_t{1}, int64_t{32} << 10, (int64_t{32} << 10) + 1, int64_t{3} << 20}) {
    ThreadRanks ranks(3);
    std::vector<std::string> got(3);
    std::string all(static_cast<size_t>(3 * n), '?');
    ranks.run_all([&](Communicator& comm) {
      const auto r = static_cast<size_t>(comm.rank());
      got[r].assign(static_cast<size_t>(n), static_cast<char>('a' + r));
      comm.gather_host(r == 0 ? all.data() : nullptr, got[r].data(), n);
      comm.broadcast(got[r].data(), n, Patience::kStep);
      comm.barrier(Patience::kStep);
    });
    for (const std::string& text : got) CHECK(text == std::string(static_cast<size_t>(n), 'a'));
    const auto part = [n](char c) { return std::string(static_cast<size_t>(n), c); };
    CHECK(all == part('a') + part('b') + part('c'));
  }
}

TEST_CASE("many small exchanges in a row do not mix") {
  ThreadRanks ranks(4);
  std::vector<int> wrong(4, 0);
  ranks.run_all([&](Communicator& comm) {
    for (int i = 0; i < 2000; ++i) {
      std::vector<float> x = {static_cast<float>(comm.rank() + i)};
      comm.all_reduce_sum(floats(&x));
      int told = i;
      if (comm.rank() != 0) told = -1;
      comm.broadcast(&told, sizeof told, Patience::kStep);
      if (x[0] != static_cast<float>(6 + 4 * i) || told != i) ++wrong[static_cast<size_t>(comm.rank())];
    }
  });
  CHECK(wrong == std::vector<int>(4, 0));
}

TEST_CASE("what a rank fails with reaches every other one, and the first failure counts") {
  ThreadRanks ranks(3);
  const std::vector<std::string> errors = ranks.run([](Communicator& comm) {
    if (comm.rank() == 1) {
      comm.abort(ErrorKind::kFile, "rank 1 of 3: no such shard");
      comm.abort(ErrorKind::kDevice, "later");
      throw Error(ErrorKind::kFile, "rank 1 of 3: no such shard");
    }
    comm.barrier(Patience::kIdle);
  });
  CHECK(errors == std::vector<std::string>(3, "rank 1 of 3: no such shard"));
  for (int r = 0; r < 3; ++r) {
    REQUIRE(ranks.comm(r).failure());
    CHECK(ranks.comm(r).failure()->kind() == ErrorKind::kFile);
    CHECK_THROWS_WITH(ranks.comm(r).barrier(Patience::kStep), "rank 1 of 3: no such shard");
  }
}

TEST_CASE("a rank that does not come within the timeout ends the others") {
  ThreadRanks ranks(3, std::chrono::milliseconds(30));
  const std::vector<std::string> errors = ranks.run([](Communicator& comm) {
    if (comm.rank() != 2) comm.barrier(Patience::kStep);
  });
  for (const int r : {0, 1}) {
    CHECK_THAT(errors[static_cast<size_t>(r)], ContainsSubstring("waited 0.03 s for the other ranks"));
    CHECK_THAT(errors[static_cast<size_t>(r)], ContainsSubstring("--comm-timeout"));
  }
  CHECK(errors[2].empty());
  CHECK(ranks.comm(2).failure()->kind() == ErrorKind::kDevice);
}

TEST_CASE("waiting for work has no timeout, but ends with the rank that is waited for") {
  const std::shared_ptr<SharedRegion> region = SharedRegion::create(2);
  int looks = 0;
  const auto comm = make_shared_memory_communicator(
      region, 1, [&]() -> std::string { return ++looks < 5 ? "" : "rank 0 has ended"; });
  comm->set_timeout(std::chrono::nanoseconds(1));
  Message message;
  CHECK_THROWS_WITH(receive_message(*comm, &message), "rank 0 has ended");
  CHECK(looks == 5);
}

TEST_CASE("messages keep kind and bytes, short and long") {
  for (const size_t n : {size_t{0}, size_t{1}, size_t{2048}, size_t{2049}, size_t{100000}}) {
    ThreadRanks ranks(2);
    std::vector<std::byte> sent(n);
    for (size_t i = 0; i < n; ++i) sent[i] = static_cast<std::byte>(i % 253);
    Message got;
    ranks.run_all([&](Communicator& comm) {
      if (comm.rank() == 0) {
        send_message(comm, 7, sent);
      } else {
        receive_message(comm, &got);
      }
    });
    CHECK(got.kind == 7);
    CHECK(got.bytes == sent);
  }
}

TEST_CASE("a message that ends too early is refused") {
  std::vector<std::byte> bytes;
  MessageWriter writer(&bytes);
  writer.put(int64_t{3});
  writer.put_text("abc");
  MessageReader reader(bytes);
  CHECK(reader.get<int64_t>() == 3);
  CHECK(reader.get_text() == "abc");
  CHECK_THROWS_AS(reader.get<char>(), Error);
  for (const int64_t count : {int64_t{-1}, int64_t{4}, INT64_MAX})
    CHECK_THROWS_AS(MessageReader(bytes).get_vector<int64_t>(count), Error);
}

TEST_CASE("one rank alone computes as without ranks") {
  const auto comm = make_local_communicator();
  std::vector<float> x = {1, 2};
  comm->all_reduce_sum(floats(&x));
  CHECK(x == std::vector<float>{1, 2});
  int all = 0;
  const int mine = 5;
  comm->gather_host(&all, &mine, sizeof mine);
  CHECK(all == 5);
  comm->barrier(Patience::kStep);
  CHECK(comm->size() == 1);
}

TEST_CASE("ranks that share no memory refuse what needs it") {
  const auto comm = make_local_communicator();
  CHECK(comm->share_memory(64) == nullptr);
  const auto refused = [](auto&& call) {
    try {
      call();
      return false;
    } catch (const Error& error) {
      CHECK_THAT(error.what(), ContainsSubstring("do not reach one another's memory"));
      return error.kind() == ErrorKind::kUnsupported;
    }
  };
  CHECK(refused([&] { comm->add_sum({}, {}); }));
  CHECK(refused([&] { comm->start_sum({}, {}, {}); }));
  CHECK(refused([&] { comm->finish_sum(0); }));
  CHECK(refused([&] { comm->all_gather_small({}, {}); }));
}

TEST_CASE("a count of ranks out of range, no program, and one that is not there, are refused") {
  for (const int n : {0, -1, 65}) {
    try {
      start_ranks(n, {"/bin/true"});
      FAIL("started " << n);
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::kUsage);
      CHECK_THAT(error.what(), ContainsSubstring("between 1 and 64 ranks, found " + std::to_string(n)));
    }
  }
  try {
    start_ranks(2, {});
    FAIL("started");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kUsage);
    CHECK_THAT(error.what(), ContainsSubstring("a command that starts a rank"));
  }
  try {
    start_ranks(2, {"/no/such/program"});
    FAIL("started");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kDevice);
    CHECK_THAT(error.what(), ContainsSubstring("rank 1 cannot be started: /no/such/program"));
  }
}

TEST_CASE("a started process that ends at once is named with how it ended") {
  const auto comm = start_ranks(2, {"/bin/sh", "-c", "exit 7"});
  try {
    comm->barrier(Patience::kIdle);
    FAIL("met nobody");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kDevice);
    CHECK_THAT(error.what(), ContainsSubstring("rank 1 of 2 ended with exit code 7"));
  }
}

}  // namespace
}  // namespace seer
