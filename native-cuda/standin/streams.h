// What streams are asked for, and the marks that events leave in them.
#pragma once
#include <time.h>

#include <deque>
#include <functional>
#include <memory>

/** A place in a stream. */
struct Mark {
  const void* stream = nullptr;
  bool isReached = false;
  timespec time{};
};

/** Where it was recorded last. */
struct Event {
  std::shared_ptr<Mark> mark;
};

void* newStream();
/** When all it was asked for is done. */
void endStream(void* stream);

/** Whether a stream's work is done as late as may be. */
bool isLate(void* stream);
/** Work for a stream, which keeps copies of all it needs. Its failure, where it is done at once. */
int doOn(void* stream, std::function<int()> work);
/** Does all that a stream, or all streams, were asked for; gives the failure of what was done. */
int finish(void* stream);
int finishAll();

int record(Event& event, void* stream);
/** What the stream is asked for from now on comes after the event's mark. */
int waitFor(void* stream, const Event& event);
int reachNow(const Event& event);

/** Notes where an event is recorded on a captured stream; false where the stream is none. */
bool recordedInCapture(const Event& event, void* stream);
/** Orders a stream behind a captured event, which makes it part of the capture; `isDone` says whether it was one. Gives the code of a failure. */
int waitedInCapture(const Event& event, void* stream, bool& isDone);
/** The event is no more. */
void forgetInCapture(const Event& event);
