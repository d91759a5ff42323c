// 64-byte records through moodycamel's ReaderWriterQueue between two threads, which is
// what it is for, and its busy-poll round trip: a C++ party of bench/ring_test.go.
//
//   rwqueue throughput RECORDS    prints records per second
//   rwqueue roundtrip ROUNDS      prints the median round trip in ns
//
// Needs Debian's packages g++ and libreaderwriterqueue-dev.
#include <readerwriterqueue/readerwriterqueue.h>
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

struct Record { std::uint64_t seq; char payload[56]; };
using Queue = moodycamel::ReaderWriterQueue<Record>;
using Clock = std::chrono::steady_clock;

static int throughput(std::uint64_t n) {
  Queue q(16384);
  std::thread producer([&] {
    Record r;
    memset(&r, 'x', sizeof r);
    for (std::uint64_t i = 0; i < n; i++) {
      r.seq = i;
      while (!q.try_enqueue(r)) {}
    }
  });
  auto start = Clock::now();
  std::uint64_t sum = 0;
  Record r;
  for (std::uint64_t i = 0; i < n; i++) {
    while (!q.try_dequeue(r)) {}
    sum += r.seq;
  }
  std::chrono::duration<double> d = Clock::now() - start;
  producer.join();
  if (sum != n * (n - 1) / 2) { fprintf(stderr, "records went missing\n"); return 1; }
  printf("%.0f\n", n / d.count());
  return 0;
}

static int roundtrip(int n) {
  Queue there(1024), back(1024);
  std::thread echo([&] {
    Record r;
    for (int i = 0; i < n; i++) {
      while (!there.try_dequeue(r)) {}
      while (!back.try_enqueue(r)) {}
    }
  });
  std::vector<double> ns(n);
  Record r{};
  for (int i = 0; i < n; i++) {
    auto start = Clock::now();
    while (!there.try_enqueue(r)) {}
    while (!back.try_dequeue(r)) {}
    ns[i] = std::chrono::duration<double, std::nano>(Clock::now() - start).count();
  }
  echo.join();
  std::sort(ns.begin(), ns.end());
  printf("%.0f\n", ns[n / 2]);
  return 0;
}

int main(int argc, char **argv) {
  if (argc == 3 && !strcmp(argv[1], "throughput")) return throughput(strtoull(argv[2], nullptr, 10));
  if (argc == 3 && !strcmp(argv[1], "roundtrip")) return roundtrip(atoi(argv[2]));
  fprintf(stderr, "usage: rwqueue throughput|roundtrip N\n");
  return 2;
}
