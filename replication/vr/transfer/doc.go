// Package transfer decides how a checkpoint comes from one replica to another, chunk by chunk: whom a replica asks for it
// and with what it goes on when it was broken off (Fetch), which checkpoints a replica holds for others, and for how long
// (Holding), and which chunk is one of it (Check).
//
// Everything in here is pure: the driver and the simulator act on what it says. Nothing is safe for use from more than
// one goroutine. The paper has a state transfer, and leaves open how (VRR 5.2, 5.3; docs/DIVERGENCE.md).
package transfer
