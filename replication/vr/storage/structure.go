package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
)

// bbolt's pages carry no checksums, but for the two meta pages: bbolt follows a damaged page number or length
// wherever it leads, panics on a goroutine of its own, and takes the state of one transaction earlier without a
// word when the newer meta page is damaged. So the tree is walked here before bbolt sees it. What the values
// hold is verified by their own checksums when they are loaded.

// The measures and marks of bbolt's format, version 2. Numbers are in the machine's own byte order.
const (
	boltMagic           = 0xED0CDAED
	boltVersion         = 2
	boltPageHeaderBytes = 16
	boltMetaBytes       = 64
	boltElementBytes    = 16
	boltBucketBytes     = 16
	boltBranchPage      = 0x01
	boltLeafPage        = 0x02
	boltBucketElement   = 0x01
	boltPageBytesMin    = 1 << 10
	boltPageBytesMax    = 1 << 24
)

// boltMeta is what one meta page says.
type boltMeta struct {
	pageBytes   int64
	root        uint64
	highWater   uint64
	freeList    uint64 // the page of the list of free pages
	transaction uint64
}

// boltElement is one element of a page: a key with the number of a page, or with a value.
type boltElement struct {
	bucket bool
	key    []byte
	value  []byte
	page   uint64
}

// structure walks one bbolt file.
type structure struct {
	file  io.ReaderAt
	bytes int64
	meta  boltMeta
	seen  map[uint64]bool
}

// checkStructure verifies that bbolt can follow everything in the file, and that neither meta page is damaged.
// A meta page is one sector long and is written last, so a crash leaves both readable.
func checkStructure(file io.ReaderAt, size int64) error {
	s := structure{file: file, bytes: size, seen: map[uint64]bool{0: true, 1: true}}
	if err := s.readMetas(); err != nil {
		return err
	}
	return s.walk(s.meta.root, nil, nil, true)
}

func (s *structure) readMetas() error {
	first, err := s.readMeta(0)
	if err != nil {
		return fmt.Errorf("meta page 0: %w", err)
	}
	second, err := s.readMeta(first.pageBytes)
	if err != nil {
		return fmt.Errorf("meta page 1: %w", err)
	}
	if first.pageBytes != second.pageBytes || first.transaction%2 != 0 || second.transaction%2 != 1 {
		return errors.New("the meta pages do not belong together")
	}
	older := first
	if s.meta = second; first.transaction > second.transaction {
		s.meta, older = first, second
	}
	if s.meta.transaction != older.transaction+1 {
		return errors.New("a meta page is of an older transaction than the last but one")
	}
	if s.meta.freeList != math.MaxUint64 {
		// The list is never stored: bbolt finds the free pages by walking the tree.
		return errors.New("it has a list of free pages")
	}
	if s.meta.highWater > uint64(s.bytes/s.meta.pageBytes) {
		return fmt.Errorf("%d pages in a file of %d bytes", s.meta.highWater, s.bytes)
	}
	return nil
}

func (s *structure) readMeta(offset int64) (boltMeta, error) {
	page := make([]byte, boltPageHeaderBytes+boltMetaBytes)
	if _, err := s.file.ReadAt(page, offset); err != nil {
		return boltMeta{}, err
	}
	data, order := page[boltPageHeaderBytes:], binary.NativeEndian
	sum := fnv.New64a()
	_, _ = sum.Write(data[:boltMetaBytes-8])
	meta := boltMeta{
		pageBytes: int64(order.Uint32(data[8:])), root: order.Uint64(data[16:]), highWater: order.Uint64(data[40:]),
		freeList: order.Uint64(data[32:]), transaction: order.Uint64(data[48:]),
	}
	switch {
	case order.Uint32(data) != boltMagic || order.Uint32(data[4:]) != boltVersion:
		return boltMeta{}, errMagic
	case order.Uint64(data[boltMetaBytes-8:]) != sum.Sum64():
		return boltMeta{}, errChecksum
	case meta.pageBytes < boltPageBytesMin || meta.pageBytes > boltPageBytesMax:
		return boltMeta{}, fmt.Errorf("pages of %d bytes", meta.pageBytes)
	}
	return meta, nil
}

// walk verifies a page and everything below it. All keys must be at or above least and, unless it is nil,
// below limit. The root holds buckets and nothing else; this package nests none.
func (s *structure) walk(number uint64, least, limit []byte, root bool) error {
	page, err := s.readPage(number)
	if err != nil {
		return fmt.Errorf("page %d: %w", number, err)
	}
	flags := binary.NativeEndian.Uint16(page[8:])
	elements, err := pageElements(page, flags)
	if err != nil {
		return fmt.Errorf("page %d: %w", number, err)
	}
	if err := checkOrder(elements, least, limit); err != nil {
		return fmt.Errorf("page %d: %w", number, err)
	}
	for i, element := range elements {
		below := limit
		if i+1 < len(elements) {
			below = elements[i+1].key
		}
		switch {
		case flags == boltBranchPage:
			err = s.walk(element.page, element.key, below, root)
		case element.bucket && root:
			err = s.walkBucket(element.value)
		case element.bucket:
			err = errors.New("a bucket within a bucket")
		case root:
			err = fmt.Errorf("%q among the buckets", element.key)
		}
		if err != nil {
			return fmt.Errorf("page %d: %w", number, err)
		}
	}
	return nil
}

// walkBucket verifies a bucket, which has a page of its own or, when small, an inline one.
func (s *structure) walkBucket(value []byte) error {
	if len(value) < boltBucketBytes {
		return errShort
	}
	if page := binary.NativeEndian.Uint64(value); page != 0 {
		return s.walk(page, nil, nil, false)
	}
	page := value[boltBucketBytes:]
	if len(page) < boltPageHeaderBytes {
		return errShort
	}
	flags := binary.NativeEndian.Uint16(page[8:])
	if flags != boltLeafPage {
		return fmt.Errorf("inline page of kind %#x", flags)
	}
	elements, err := pageElements(page, flags)
	if err != nil {
		return fmt.Errorf("inline page: %w", err)
	}
	for _, element := range elements {
		if element.bucket {
			return errors.New("a bucket within a bucket")
		}
	}
	return checkOrder(elements, nil, nil)
}

// readPage reads a page with its overflow, and marks it as met: no page has two owners.
func (s *structure) readPage(number uint64) ([]byte, error) {
	if number >= s.meta.highWater {
		return nil, fmt.Errorf("above the high-water mark %d", s.meta.highWater)
	}
	header := make([]byte, boltPageHeaderBytes)
	if _, err := s.file.ReadAt(header, int64(number)*s.meta.pageBytes); err != nil {
		return nil, err
	}
	if found := binary.NativeEndian.Uint64(header); found != number {
		return nil, fmt.Errorf("it says it is page %d", found)
	}
	count := uint64(binary.NativeEndian.Uint32(header[12:])) + 1
	if number+count > s.meta.highWater {
		return nil, fmt.Errorf("its overflow passes the high-water mark %d", s.meta.highWater)
	}
	for i := number; i < number+count; i++ {
		if s.seen[i] {
			return nil, fmt.Errorf("page %d has two owners", i)
		}
		s.seen[i] = true
	}
	page := make([]byte, int64(count)*s.meta.pageBytes)
	_, err := s.file.ReadAt(page, int64(number)*s.meta.pageBytes)
	return page, err
}

// pageElements reads the elements of a branch or leaf page.
func pageElements(page []byte, flags uint16) ([]boltElement, error) {
	if flags != boltBranchPage && flags != boltLeafPage {
		return nil, fmt.Errorf("of kind %#x", flags)
	}
	count := int(binary.NativeEndian.Uint16(page[10:]))
	if boltPageHeaderBytes+count*boltElementBytes > len(page) {
		return nil, fmt.Errorf("%d elements in %d bytes", count, len(page))
	}
	if flags == boltBranchPage && count == 0 {
		return nil, errors.New("a branch without elements")
	}
	elements := make([]boltElement, count)
	for i := range elements {
		at := boltPageHeaderBytes + i*boltElementBytes
		element, err := pageElement(page, at, flags)
		if err != nil {
			return nil, fmt.Errorf("element %d: %w", i, err)
		}
		elements[i] = element
	}
	return elements, nil
}

func pageElement(page []byte, at int, flags uint16) (boltElement, error) {
	order, head := binary.NativeEndian, page[at:at+boltElementBytes]
	if flags == boltBranchPage {
		key, err := slice(page, at, order.Uint32(head), order.Uint32(head[4:]))
		return boltElement{key: key, page: order.Uint64(head[8:])}, err
	}
	mark := order.Uint32(head)
	if mark > boltBucketElement {
		return boltElement{}, fmt.Errorf("of kind %#x", mark)
	}
	position, keyBytes, valueBytes := order.Uint32(head[4:]), order.Uint32(head[8:]), order.Uint32(head[12:])
	key, err := slice(page, at, position, keyBytes)
	if err != nil {
		return boltElement{}, err
	}
	end := uint64(position) + uint64(keyBytes)
	if end > math.MaxUint32 {
		return boltElement{}, errShort
	}
	value, err := slice(page, at, uint32(end), valueBytes)
	return boltElement{bucket: mark == boltBucketElement, key: key, value: value}, err
}

// slice is length bytes of the page from position bytes after at.
func slice(page []byte, at int, position, length uint32) ([]byte, error) {
	start := int64(at) + int64(position)
	end := start + int64(length)
	if position < boltElementBytes || end > int64(len(page)) {
		return nil, errShort
	}
	return page[start:end], nil
}

func checkOrder(elements []boltElement, least, limit []byte) error {
	for i, element := range elements {
		switch {
		case len(element.key) == 0:
			return errors.New("an empty key")
		case i == 0 && bytes.Compare(element.key, least) < 0,
			i > 0 && bytes.Compare(element.key, elements[i-1].key) <= 0,
			limit != nil && bytes.Compare(element.key, limit) >= 0:
			return fmt.Errorf("element %d is out of order", i)
		}
	}
	return nil
}
