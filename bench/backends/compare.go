package backends

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// voidMax is how many runs in a row may be void before it is given up.
const voidMax = 5

// comparison is one Compare.
type comparison struct {
	options  Options
	results  *results
	policies map[policyKey]Policy
	done     int // runs
	total    int
}

// policyKey is what a policy is of.
type policyKey struct {
	backend, durability string
	replicas            int
}

// Compare makes all runs that Options.Results does not have, and returns all records that were asked for, in their
// order. Errors are ErrOptions, ErrResults, ErrPolicy, ErrVoid, ErrDiffers, ErrProcess and the context's own; the records
// that there are by then come with them, and nothing is left running.
func Compare(ctx context.Context, o Options) (records []Record, err error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.WithDefaults()
	kept, err := openResults(o.Results)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, kept.close()) }()
	c := &comparison{options: o, results: kept, policies: map[policyKey]Policy{}}
	for _, cell := range o.cells() {
		c.total += o.runs(cell) * len(o.having(cell.Durability))
	}
	for _, cell := range o.cells() {
		of, err := c.compare(ctx, cell)
		if records = append(records, of...); err != nil {
			return records, err
		}
	}
	return records, nil
}

// compare runs one cell with all backends in turn. Who comes first changes from run to run.
func (c *comparison) compare(ctx context.Context, cell Cell) (records []Record, err error) {
	names := c.options.having(cell.Durability)
	for run := 1; run <= c.options.runs(cell); run++ {
		order := slices.Clone(names)
		if run%2 == 0 {
			slices.Reverse(order)
		}
		for _, name := range order {
			record, err := c.run(ctx, cell, name, run)
			if err != nil {
				return records, fmt.Errorf("%v, %s, run %d: %w", cell, name, run, err)
			}
			records = append(records, *record)
		}
	}
	return records, nil
}

// run makes one run, unless it was made before.
func (c *comparison) run(ctx context.Context, cell Cell, name string, run int) (*Record, error) {
	o := c.options
	record := &Record{Cell: cell, Backend: name, Run: run, Duration: o.Duration, Warmup: o.Warmup, Terms: o.Terms}
	if cell.Scenario == Catchup {
		record.Behind = o.BehindBytes
	}
	c.done++
	if have, err := c.results.has(record); have != nil || err != nil {
		return have, err
	}
	if err := c.agree(ctx, cell); err != nil {
		return nil, err
	}
	record.Policy = c.policies[policyKey{name, cell.Durability, cell.Replicas}]
	o.Progress(fmt.Sprintf("run %d of %d: %v, %s, run %d", c.done, c.total, cell, name, run))
	for {
		record.Place = here()
		err := c.measure(ctx, record)
		if err == nil {
			return record, c.results.add(record)
		}
		if record.Void++; !errors.Is(err, ErrVoid) || record.Void >= voidMax || ctx.Err() != nil {
			return nil, err
		}
		o.Progress(fmt.Sprintf("run %d of %d again: %v", c.done, c.total, err))
	}
}

// agree looks at what every backend does before it acknowledges, once for each durability and size, and refuses one that
// does something else than the others.
func (c *comparison) agree(ctx context.Context, cell Cell) error {
	for _, name := range c.options.having(cell.Durability) {
		at := policyKey{name, cell.Durability, cell.Replicas}
		if _, known := c.policies[at]; known {
			continue
		}
		c.options.Progress(fmt.Sprintf("looking when %s syncs: %s, %d replicas", name, cell.Durability, cell.Replicas))
		policy, err := probe(ctx, c.options, name, cell.Durability, cell.Replicas)
		if err != nil {
			return err
		}
		c.policies[at] = policy
		c.options.Progress(policy.String())
	}
	return nil
}

func (c *comparison) measure(ctx context.Context, record *Record) (err error) {
	switch record.Scenario {
	case Failover:
		record.Outage, err = measureFailover(ctx, c.options, record.Backend, record.Cell)
	case Catchup:
		record.Return, err = measureCatchup(ctx, c.options, record.Backend, record.Cell)
	default:
		profile := ""
		if c.options.Profiles != "" {
			profile = filepath.Join(c.options.Profiles, fmt.Sprintf("%s-%dr-%db-%dp-%s-run%d",
				record.Durability, record.Replicas, record.ValueBytes, record.Proposers, strings.ReplaceAll(record.Backend, "/", "-"), record.Run))
		}
		record.Speed, err = measureThroughput(ctx, c.options, record.Backend, record.Cell, profile)
	}
	return err
}
