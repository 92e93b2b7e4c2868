// Package bench measures transactions under contention, and checks what it measured: every run is recorded and
// replayed in timestamp order, and a figure counts only beside the verdict SERIALIZABLE.
//
// Load is closed-loop: each caller sends its next request when the last is answered. Keys are drawn with a Zipf
// distribution of any skew. `viewline bench` is its command line; nothing else imports it. A Recorder may be
// used from many goroutines.
package bench
