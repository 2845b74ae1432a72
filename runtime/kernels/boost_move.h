/* boost_move.h - rows to the two sides of a split: an array is sorted by one bit, in place.
 *
 * Vector code is used where the processor has it; what it does is the same, bit by bit. */
#ifndef KERNELS_BOOST_MOVE_H
#define KERNELS_BOOST_MOVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What aside has room for beyond n, for whole vectors are written. */
enum { BOOST_ASIDE = 8 };

/* Those of x[0..n) whose left is 1 come to the front in their order, those whose left is 0 follow
 * in theirs. aside: (n + BOOST_ASIDE). */
void boost_move_64(uint64_t *x, uint64_t *aside, const unsigned char *left, size_t n);
void boost_move_32(uint32_t *x, uint32_t *aside, const unsigned char *left, size_t n);

/* For tests: with false the portable code alone is used. */
void boost_use_vectors(bool yes);
bool boost_has_vectors(void); /* and uses them */

#endif
