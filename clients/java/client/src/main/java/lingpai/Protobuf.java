package lingpai;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** A protobuf message, as far as the details of errors need it. */
final class Protobuf {
  private final Map<Integer, Long> numbers = new HashMap<>();
  private final Map<Integer, List<byte[]>> parts = new HashMap<>();
  private final byte[] bytes;
  private int at;

  /** Throws IllegalArgumentException or IndexOutOfBoundsException for what is none. */
  Protobuf(byte[] bytes) {
    this.bytes = bytes;
    while (at < bytes.length) {
      long tag = varint();
      int number = (int) (tag >>> 3);
      switch ((int) (tag & 7)) {
        case 0:
          numbers.put(number, varint());
          break;
        case 1:
          at += 8;
          break;
        case 2:
          int length = (int) varint();
          if (length < 0 || length > bytes.length - at) throw new IllegalArgumentException("a field is cut off");
          parts.computeIfAbsent(number, none -> new ArrayList<>()).add(Arrays.copyOfRange(bytes, at, at + length));
          at += length;
          break;
        case 5:
          at += 4;
          break;
        default:
          throw new IllegalArgumentException("a wire type that is not known");
      }
    }
  }

  /** A string, or an empty one. */
  String text(int number) {
    List<byte[]> found = parts.get(number);
    return found == null ? "" : new String(found.get(found.size() - 1), StandardCharsets.UTF_8);
  }

  /** What a map of strings has by a name, or an empty string. */
  String entry(int number, String name) {
    for (byte[] part : parts.getOrDefault(number, new ArrayList<>())) {
      Protobuf entry = new Protobuf(part);
      if (entry.text(1).equals(name)) return entry.text(2);
    }
    return "";
  }

  /** A google.protobuf.Duration in milliseconds, 0 to 10^12. */
  long durationMs(int number) {
    List<byte[]> found = parts.get(number);
    if (found == null) return 0;
    Protobuf duration = new Protobuf(found.get(found.size() - 1));
    long seconds = Math.max(0, Math.min(duration.numbers.getOrDefault(1, 0L), 1_000_000_000L));
    return seconds * 1000 + Math.max(0, Math.min(duration.numbers.getOrDefault(2, 0L), 999_999_999L)) / 1_000_000;
  }

  private long varint() {
    long value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      byte next = bytes[at++];
      value |= (long) (next & 0x7f) << shift;
      if (next >= 0) return value;
    }
    throw new IllegalArgumentException("a varint is too long");
  }
}
