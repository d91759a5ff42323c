// A 64-byte payload there and back between two processes through iceoryx, both sides
// polling: the party of bench/ring_test.go with a middleware's broker. iox-roudi has to be
// running.
//
//   iceoryx_rtt roundtrip ROUNDS     prints the median round trip in ns
//
// Needs Debian's packages g++, libiceoryx-posh-dev, libiceoryx-hoofs-dev and iceoryx.
#include "iceoryx_posh/popo/publisher.hpp"
#include "iceoryx_posh/popo/subscriber.hpp"
#include "iceoryx_posh/runtime/posh_runtime.hpp"
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/prctl.h>
#include <csignal>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

struct Record { std::uint64_t seq; char payload[56]; };
using Clock = std::chrono::steady_clock;
using Out = iox::popo::Publisher<Record>;
using In = iox::popo::Subscriber<Record>;

// once returns when the other side has its subscription.
static void once(Out &out) {
  while (!out.hasSubscribers()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

static void send(Out &out, std::uint64_t seq) {
  for (bool sent = false; !sent;)
    out.loan().and_then([&](auto &sample) {
      sample->seq = seq;
      sample.publish();
      sent = true;
    });
}

static std::uint64_t receive(In &in) {
  std::uint64_t seq = 0;
  for (bool got = false; !got;)
    in.take().and_then([&](const auto &sample) {
      seq = sample->seq;
      got = true;
    });
  return seq;
}

int main(int argc, char **argv) {
  if (argc != 3 || strcmp(argv[1], "roundtrip")) {
    fprintf(stderr, "usage: iceoryx_rtt roundtrip N\n");
    return 2;
  }
  int n = atoi(argv[2]);
  char there[40], back[40], name[40];
  snprintf(there, sizeof there, "there-%d", getpid());
  snprintf(back, sizeof back, "back-%d", getpid());
  iox::capro::ServiceDescription forth{"shmkit", "bench", iox::capro::IdString_t(iox::cxx::TruncateToCapacity, there)};
  iox::capro::ServiceDescription home{"shmkit", "bench", iox::capro::IdString_t(iox::cxx::TruncateToCapacity, back)};
  pid_t parent = getpid(), child = fork();
  snprintf(name, sizeof name, "shmkit-%s-%d", child ? "near" : "far", parent);
  if (child == 0) prctl(PR_SET_PDEATHSIG, SIGKILL);
  iox::runtime::PoshRuntime::initRuntime(iox::RuntimeName_t(iox::cxx::TruncateToCapacity, name));
  if (child == 0) {
    Out out(home);
    In in(forth);
    once(out);
    for (int i = 0; i < n; i++) send(out, receive(in));
    std::this_thread::sleep_for(std::chrono::milliseconds(100)); // the last one is still read
    return 0;
  }
  Out out(forth);
  In in(home);
  once(out);
  while (in.getSubscriptionState() != iox::SubscribeState::SUBSCRIBED)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  std::vector<double> ns(n);
  for (int i = 0; i < n; i++) {
    auto start = Clock::now();
    send(out, i);
    if (receive(in) != std::uint64_t(i)) {
      fprintf(stderr, "iceoryx_rtt: another answer than was sent\n");
      return 1;
    }
    ns[i] = std::chrono::duration<double, std::nano>(Clock::now() - start).count();
  }
  int status;
  waitpid(child, &status, 0);
  std::sort(ns.begin(), ns.end());
  printf("%.0f\n", ns[n / 2]);
  return 0;
}
