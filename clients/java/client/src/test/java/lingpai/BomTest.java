package lingpai;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.File;
import java.util.Set;
import java.util.TreeSet;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.Test;
import org.w3c.dom.Document;
import org.w3c.dom.Element;
import org.w3c.dom.NodeList;

class BomTest {
  /** Whoever imports it has the versions that its parents manage too. */
  @Test
  void managesTheLibrariesVersionsAndNoOthers() throws Exception {
    Set<String> managed = new TreeSet<>();
    for (String pom : new String[] {"../bom/pom.xml", "../pom.xml"}) {
      Document document = DocumentBuilderFactory.newInstance().newDocumentBuilder().parse(new File(pom));
      NodeList managements = document.getElementsByTagName("dependencyManagement");
      for (int at = 0; at < managements.getLength(); at++) {
        NodeList names = ((Element) managements.item(at)).getElementsByTagName("artifactId");
        for (int name = 0; name < names.getLength(); name++) managed.add(names.item(name).getTextContent());
      }
    }
    assertEquals("[lingpai-client, lingpai-spring-boot-starter, lingpai-wxjava]", managed.toString());
  }
}
