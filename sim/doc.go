// Package sim is the room of the deterministic simulators; it has no code of its own. One seed decides
// everything that happens in a run: sim/group simulates one group of Viewstamped Replication,
// sim/transactions a whole store. Only tests and the command line may import what is below.
package sim
