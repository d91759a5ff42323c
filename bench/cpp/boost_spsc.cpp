// 64-byte records between two processes through Boost.Lockfree's spsc_queue in
// shared memory, and its busy-poll round trip: the C++ party of bench/ring_test.go.
//
//   boost_spsc throughput RECORDS    prints records per second
//   boost_spsc roundtrip ROUNDS      prints the median round trip in ns
//
// Needs Debian's packages g++ and libboost-dev.
#include <boost/lockfree/spsc_queue.hpp>
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

struct Record { std::uint64_t seq; char payload[56]; };
using Queue = boost::lockfree::spsc_queue<Record, boost::lockfree::capacity<16384>>;
struct Pair { Queue there, back; };
using Clock = std::chrono::steady_clock;

static Pair *share() {
  void *p = mmap(nullptr, sizeof(Pair), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) { perror("mmap"); exit(1); }
  return new (p) Pair;
}

static int throughput(std::uint64_t n) {
  Pair *q = share();
  pid_t child = fork();
  if (child == 0) {
    Record r;
    memset(&r, 'x', sizeof r);
    for (std::uint64_t i = 0; i < n; i++) {
      r.seq = i;
      while (!q->there.push(r)) {}
    }
    _exit(0);
  }
  auto start = Clock::now();
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < n;)
    i += q->there.consume_all([&](const Record &r) { sum += r.seq ^ std::uint64_t(r.payload[55]); });
  std::chrono::duration<double> d = Clock::now() - start;
  waitpid(child, nullptr, 0);
  if (sum == 42) fprintf(stderr, "\n"); // the records are looked at
  printf("%.0f\n", n / d.count());
  return 0;
}

static int roundtrip(int n) {
  Pair *q = share();
  pid_t child = fork();
  Record r{};
  if (child == 0) {
    for (int i = 0; i < n; i++) {
      while (!q->there.pop(r)) {}
      while (!q->back.push(r)) {}
    }
    _exit(0);
  }
  std::vector<double> ns(n);
  for (int i = 0; i < n; i++) {
    auto start = Clock::now();
    while (!q->there.push(r)) {}
    while (!q->back.pop(r)) {}
    ns[i] = std::chrono::duration<double, std::nano>(Clock::now() - start).count();
  }
  waitpid(child, nullptr, 0);
  std::sort(ns.begin(), ns.end());
  printf("%.0f\n", ns[n / 2]);
  return 0;
}

int main(int argc, char **argv) {
  if (argc == 3 && !strcmp(argv[1], "throughput")) return throughput(strtoull(argv[2], nullptr, 10));
  if (argc == 3 && !strcmp(argv[1], "roundtrip")) return roundtrip(atoi(argv[2]));
  fprintf(stderr, "usage: boost_spsc throughput|roundtrip N\n");
  return 2;
}
