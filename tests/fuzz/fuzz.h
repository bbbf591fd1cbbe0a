/*
 * What a fuzz target defines: libFuzzer, or replay.c, calls it with one input after the other.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Answers 0. Must leave no state behind that changes what the next input does. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
