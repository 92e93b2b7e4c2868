// Package faultproxy is a TCP proxy that hurts what it carries: a Proxy stands for one link, from those who connect to
// it to its target, and delays, slows, holds, swallows, alters, half-closes or cuts it. What waits in it is bounded:
// who writes faster than the link carries is held up, as by a real one.
//
// TCP delivers bytes in order, so that a proxy cannot reorder or lose a part of a stream unnoticed. A connection that
// has had bytes swallowed or altered is therefore reset when that ends, as a network would have it time out, and TLS
// refuse it. All methods are safe for use from many goroutines.
package faultproxy
