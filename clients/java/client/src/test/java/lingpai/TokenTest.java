package lingpai;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.ByteArrayOutputStream;
import java.io.NotSerializableException;
import java.io.ObjectOutputStream;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import org.junit.jupiter.api.Test;

class TokenTest {
  private static final String VALUE = "77_golden-token-value_AbCdEf0123456789";

  @Test
  void whatPrintsATokenPrintsItsId() throws Exception {
    Token token = new Token(VALUE, 7, null, 0);
    assertEquals("afb114fe7008", token.id());
    assertEquals("afb114fe7008", token.toString());
    assertEquals("afb114fe7008", String.format("%s", token));
    assertThrows(NotSerializableException.class, () -> new ObjectOutputStream(new ByteArrayOutputStream()).writeObject(token));
    assertFalse(TokenSource.fixed("wx1", VALUE).toString().contains(VALUE));
    assertFalse(TokenSource.fixed("wx1", VALUE).report(token).toString().contains(VALUE));
  }

  /** What Gson, and printers by reflection, would show of an object: fields that are not transient. */
  private static void hasNoField(Object owner, Object secret) throws IllegalAccessException {
    for (Field field : owner.getClass().getDeclaredFields()) {
      if (Modifier.isStatic(field.getModifiers()) || Modifier.isTransient(field.getModifiers())) continue;
      field.setAccessible(true);
      assertNotEquals(secret, field.get(owner), owner.getClass().getName() + "." + field.getName());
    }
  }

  @Test
  void whatReadsFieldsFindsNoSecret() throws Exception {
    hasNoField(new Token(VALUE, 7, null, 0), VALUE);
    LingpaiClient.Builder builder = LingpaiClient.builder("http://127.0.0.1:1").app("wx1").key("SECRET");
    hasNoField(builder, "SECRET");
    Settings settings = new Settings(builder);
    assertEquals("SECRET", settings.bearer());
    hasNoField(settings, "SECRET");
  }

  @Test
  void generationsAreUnsigned() {
    Token greatest = new Token("a", -1, null, 0);
    assertEquals(true, greatest.isNewerThan(new Token("b", Long.MAX_VALUE, null, 0)));
    assertFalse(greatest.isNewerThan(greatest));
  }

  @Test
  void theTokenBeforeItIsThereDuringItsGrace() {
    Token before = new Token("a", 0, null, 0);
    assertSame(before, new Token("b", 2, before, System.nanoTime() + 3_600_000_000_000L).previous());
    assertNull(new Token("b", 2, before, System.nanoTime()).previous());
    assertNull(new Token("b", 2, null, Long.MAX_VALUE / 2).previous());
  }
}
