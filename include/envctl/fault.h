// Switches for the teeth tests: a build with ENVCTL_FAULTS can turn a mechanism off, to show that its test would
// notice.
#ifndef ENVCTL_FAULT_H
#define ENVCTL_FAULT_H

#include <stdbool.h>

#ifdef ENVCTL_FAULTS
/// Whether the environment variable ENVCTL_FAULT (a comma list) names this mechanism.
bool ec_fault(const char *name);
#else
#define ec_fault(name) false
#endif

#endif
