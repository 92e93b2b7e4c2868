//go:build !linux

package namespaces

import (
	"context"
	"net"
)

// Network is a switch with hosts; there is none on this system.
type Network struct{}

// Host is one host of a Network.
type Host struct{}

// Open returns ErrUnavailable.
func Open() (*Network, error) { return nil, ErrUnavailable }

// Add is not reached.
func (*Network) Add() (*Host, error) { return nil, ErrUnavailable }

// Remove is not reached.
func (*Network) Remove(*Host) error { return ErrUnavailable }

// Do is not reached.
func (*Network) Do(func() error) error { return ErrUnavailable }

// Drop is not reached.
func (*Network) Drop(_, _ *Host) error { return ErrUnavailable }

// Dropped is not reached.
func (*Network) Dropped() (uint64, error) { return 0, ErrUnavailable }

// Heal is not reached.
func (*Network) Heal() (uint64, error) { return 0, ErrUnavailable }

// Close is not reached.
func (*Network) Close() error { return nil }

// Address is not reached.
func (*Host) Address() string { return "" }

// Do is not reached.
func (*Host) Do(func() error) error { return ErrUnavailable }

// Turn is not reached.
func (*Network) Turn(_, _ *Host, _ uint16) error { return ErrUnavailable }

// Dial is not reached.
func (*Host) Dial(context.Context, string) (net.Conn, error) { return nil, ErrUnavailable }
