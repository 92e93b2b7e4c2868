// Package registers has clients read and write single objects, records what they did and when, and judges whether that
// is linearizable: whether every operation can have happened at one moment between its call and its answer. A history
// that cannot be judged in time is not taken for a good one.
package registers
