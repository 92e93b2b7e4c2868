// Package house holds the tests that keep the rooms apart: who may import whom, what a pure room may not
// touch, how long a function may be. It has no code of its own; nothing may import it.
package house
