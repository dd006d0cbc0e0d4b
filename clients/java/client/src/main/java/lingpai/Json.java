package lingpai;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** A reader of JSON, as far as the broker's messages need it. Objects are maps, lists are lists; a number is a Double. Depth is bounded. */
final class Json {
  private static final int DEPTH_MAX = 64;

  private final String text;
  private int at;

  private Json(String text) {
    this.text = text;
  }

  /** An object. Throws an RpcException for anything else. */
  static Map<String, Object> object(String text) {
    Json reader = new Json(text);
    try {
      Object value = reader.value(0);
      reader.space();
      if (reader.at == text.length() && value instanceof Map) return asObject(value);
    } catch (IndexOutOfBoundsException cut) {
      // told below
    }
    throw reader.wrong();
  }

  /** What stands there if it is an object, else an empty one. */
  @SuppressWarnings("unchecked")
  static Map<String, Object> asObject(Object value) {
    return value instanceof Map ? (Map<String, Object>) value : new LinkedHashMap<>();
  }

  /** What stands there if it is a list, else an empty one. */
  static List<?> asList(Object value) {
    return value instanceof List ? (List<?>) value : new ArrayList<>();
  }

  /** What stands there if it is a string, else an empty one. */
  static String asString(Object value) {
    return value instanceof String ? (String) value : "";
  }

  /** A text between quotation marks. */
  static String quoted(String text) {
    StringBuilder quoted = new StringBuilder("\"");
    for (char letter : text.toCharArray()) {
      if (letter == '"' || letter == '\\') quoted.append('\\').append(letter);
      else if (letter < ' ') quoted.append(String.format("\\u%04x", (int) letter));
      else quoted.append(letter);
    }
    return quoted.append('"').toString();
  }

  private Object value(int depth) {
    if (depth > DEPTH_MAX) throw wrong();
    space();
    switch (text.charAt(at)) {
      case '{':
        Map<String, Object> object = new LinkedHashMap<>();
        for (boolean more = opens('}'); more; more = goesOn('}')) {
          space();
          String name = string();
          space();
          take(':');
          object.put(name, value(depth + 1));
        }
        return object;
      case '[':
        List<Object> list = new ArrayList<>();
        for (boolean more = opens(']'); more; more = goesOn(']')) list.add(value(depth + 1));
        return list;
      case '"':
        return string();
      case 't':
        return word("true", true);
      case 'f':
        return word("false", false);
      case 'n':
        return word("null", null);
      default:
        return number();
    }
  }

  private boolean opens(char end) {
    at++;
    space();
    if (text.charAt(at) != end) return true;
    at++;
    return false;
  }

  private boolean goesOn(char end) {
    space();
    char next = text.charAt(at++);
    if (next != ',' && next != end) throw wrong();
    return next == ',';
  }

  private String string() {
    take('"');
    StringBuilder string = new StringBuilder();
    char before = 0;
    for (char letter = text.charAt(at++); letter != '"'; letter = text.charAt(at++)) {
      if (letter < ' ') throw wrong();
      char meant = letter == '\\' ? escaped() : letter;
      // Half a character is none: it would be sent as another one.
      if (Character.isHighSurrogate(before) != Character.isLowSurrogate(meant)) throw wrong();
      string.append(before = meant);
    }
    if (Character.isHighSurrogate(before)) throw wrong();
    return string.toString();
  }

  private char escaped() {
    char escape = text.charAt(at++);
    if (escape == 'u') {
      int code = 0;
      for (int digit = 0; digit < 4; digit++) {
        int next = Character.digit(text.charAt(at++), 16);
        if (next < 0) throw wrong();
        code = code << 4 | next;
      }
      return (char) code;
    }
    int index = "\"\\/nrtbf".indexOf(escape);
    if (index < 0) throw wrong();
    return "\"\\/\n\r\t\b\f".charAt(index);
  }

  private Double number() {
    int from = at;
    if (text.charAt(at) == '-') at++;
    if (text.charAt(at) == '0') at++;
    else digits();
    if (at < text.length() && text.charAt(at) == '.') {
      at++;
      digits();
    }
    if (at < text.length() && (text.charAt(at) | ' ') == 'e') {
      at++;
      if ("+-".indexOf(text.charAt(at)) >= 0) at++;
      digits();
    }
    return Double.valueOf(text.substring(from, at));
  }

  private void digits() {
    int from = at;
    while (at < text.length() && text.charAt(at) >= '0' && text.charAt(at) <= '9') at++;
    if (at == from) throw wrong();
  }

  private Object word(String word, Object value) {
    if (!text.startsWith(word, at)) throw wrong();
    at += word.length();
    return value;
  }

  private void take(char wanted) {
    if (text.charAt(at++) != wanted) throw wrong();
  }

  private void space() {
    while (at < text.length() && " \n\r\t".indexOf(text.charAt(at)) >= 0) at++;
  }

  private RpcException wrong() {
    return new RpcException("INTERNAL", "", "a message is no JSON object", "", 0);
  }
}
