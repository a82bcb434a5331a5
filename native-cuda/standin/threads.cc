// The threads of a block as fibers: each runs until it meets a barrier or a shuffle, and goes on when those it waits for
// have come. A kernel in which some wait for a barrier that others never reach ends the process with a message. A fiber is made once, runs a
// kernel's thread, and then waits for the next; it goes on by _longjmp, which asks nothing of the system, as swapcontext does twice.
#undef _FORTIFY_SOURCE  // whose longjmp refuses to leave a stack for another
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <vector>

#include "standin.h"

StandIn standIn;

namespace {

constexpr size_t STACK = 256 * 1024;
enum class State { Runs, AtBarrier, AtExchange, Waits, Done };

struct Fiber {
  jmp_buf at;  // where it goes on
  bool isMade = false;
  State state = State::Done;
  unsigned exchanges = 0;
  unsigned long long slot[2] = {0, 0};  // a lane is at most one exchange ahead of another of its warp
  bool (*isReady)(const void*, unsigned) = nullptr;  // what it waits for
  const void* on = nullptr;
  unsigned with = 0;
};

std::vector<Fiber> fibers(1024);
jmp_buf scheduler;
unsigned current = 0;
Kernel kernelNow;
const void* parametersNow;

Dim3 threadAt(unsigned i) { return {i % standIn.threads.x, i / standIn.threads.x % standIn.threads.y, i / (standIn.threads.x * standIn.threads.y)}; }

void pause(State state) {
  fibers[current].state = state;
  if (_setjmp(fibers[current].at) == 0) _longjmp(scheduler, 1);
}

void barrier() { pause(State::AtBarrier); }

unsigned long long exchange(unsigned long long value, unsigned from) {
  Fiber& mine = fibers[current];
  const unsigned turn = mine.exchanges++ & 1;
  mine.slot[turn] = value;
  pause(State::AtExchange);
  return fibers[(current & ~31u) + from].slot[turn];
}

void meet(const void* mine, const void** all) {
  Fiber& fiber = fibers[current];
  const unsigned turn = fiber.exchanges++ & 1, first = current & ~31u;
  fiber.slot[turn] = reinterpret_cast<uintptr_t>(mine);
  pause(State::AtExchange);
  for (unsigned i = 0; i < 32; i++) all[i] = reinterpret_cast<const void*>(fibers[first + i].slot[turn]);
}

void wait(bool (*isReady)(const void*, unsigned), const void* on, unsigned with) {
  if (isReady(on, with)) return;
  Fiber& fiber = fibers[current];
  fiber.isReady = isReady;
  fiber.on = on;
  fiber.with = with;
  pause(State::Waits);
}

// The order is no part of what a kernel may rely on: REVNET_STANDIN_ORDER=reverse turns that of threads round, and what goes
// on beside them is then done as early as it may be, else as late.
bool isReversed() {
  const char* order = getenv("REVNET_STANDIN_ORDER");
  return order != nullptr && std::strcmp(order, "reverse") == 0;
}

struct Later {
  void (*run)(void*);
  void* what;
};
std::deque<Later> pending;
void later(void (*run)(void*), void* what) {
  if (isReversed()) run(what);
  else pending.push_back({run, what});
}

/** What a fiber does: one thread after the other. */
void enter() {
  for (;;) {
    kernelNow(parametersNow);
    pause(State::Done);
  }
}

/** A fiber's first steps, on a stack of its own. */
[[noreturn]] void make(Fiber& fiber) {
  ucontext_t context;
  getcontext(&context);
  context.uc_stack.ss_sp = mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  context.uc_stack.ss_size = STACK;
  context.uc_link = nullptr;
  makecontext(&context, enter, 0);
  fiber.isMade = true;
  setcontext(&context);
  std::abort();
}

/** Lets a fiber go on until it pauses. */
void resume(Fiber& fiber) {
  if (_setjmp(scheduler) != 0) return;
  if (!fiber.isMade) make(fiber);
  _longjmp(fiber.at, 1);
}

/** Lets those go on who wait for nobody any more. Those of one group either all wait in the same place or have ended. */
bool release(unsigned from, unsigned to, State waited) {
  bool some = false;
  for (unsigned i = from; i < to; i++) {
    if (fibers[i].state == State::Done) continue;
    if (fibers[i].state != waited) return false;
    some = true;
  }
  for (unsigned i = from; some && i < to; i++)
    if (fibers[i].state == waited) fibers[i].state = State::Runs;
  return some;
}

void runBlock(unsigned count) {
  for (unsigned i = 0; i < count; i++) {
    fibers[i].state = State::Runs;
    fibers[i].exchanges = 0;
  }
  const bool reversed = isReversed();
  for (;;) {
    bool ran = false, isDone = true;
    for (unsigned k = 0; k < count; k++) {
      const unsigned i = reversed ? count - 1 - k : k;
      if (fibers[i].state == State::Waits && fibers[i].isReady(fibers[i].on, fibers[i].with)) fibers[i].state = State::Runs;
      if (fibers[i].state == State::Runs) {
        current = i;
        standIn.thread = threadAt(i);
        resume(fibers[i]);
        ran = true;
      }
      if (fibers[i].state != State::Done) isDone = false;
    }
    if (isDone && !pending.empty()) {
      std::fprintf(stderr, "stand-in: a block ended while copies to its shared memory were under way\n");
      std::abort();
    }
    if (isDone) return;
    bool released = release(0, count, State::AtBarrier);
    for (unsigned w = 0; w < count; w += 32) released |= release(w, w + 32 < count ? w + 32 : count, State::AtExchange);
    if (ran || released) continue;
    if (!pending.empty()) {
      const Later next = pending.front();
      pending.pop_front();
      next.run(next.what);
    } else {
      std::fprintf(stderr, "stand-in: a kernel's threads wait for each other at different barriers\n");
      std::abort();
    }
  }
}

}  // namespace

void runGrid(Kernel kernel, const void* parameters, bool isCooperative, Dim3 blocks, Dim3 threads, size_t sharedBytes) {
  kernelNow = kernel;
  parametersNow = parameters;
  const unsigned count = threads.x * threads.y * threads.z;
  std::vector<uint64_t> shared((sharedBytes + 7) / 8 + 2);
  // Aligned to 16 bytes, as kernels may assume.
  void* dynamicShared = reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(shared.data()) + 15) & ~uintptr_t{15});
  standIn = {{0, 0, 0}, {0, 0, 0}, threads, blocks, dynamicShared, barrier, exchange, meet, sharedBytes, wait, later, Early::awaited, Early::ahead};
  for (standIn.block.z = 0; standIn.block.z < blocks.z; standIn.block.z++)
    for (standIn.block.y = 0; standIn.block.y < blocks.y; standIn.block.y++)
      for (standIn.block.x = 0; standIn.block.x < blocks.x; standIn.block.x++) {
        // What a block finds in shared memory is nobody's promise.
        std::memset(dynamicShared, 0xff, sharedBytes);
        if (isCooperative) {
          runBlock(count);
          continue;
        }
        for (unsigned i = 0; i < count; i++) {
          standIn.thread = threadAt(i);
          kernel(parameters);
        }
      }
}
